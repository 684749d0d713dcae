// Requests to the server; errors become sentences.

function formatError(body) {
  const sentences = [body.message || "The server did not answer as expected."];
  sentences[0] = sentences[0].charAt(0).toUpperCase() + sentences[0].slice(1);
  if (body.where && !/^[-/]/.test(body.where)) sentences[0] = `${body.where.replaceAll("_", " ")}: ${body.message}`;
  if (body.expected) sentences.push(`Expected: ${body.expected}.`);
  if (body.found) sentences.push(`Found: ${body.found}.`);
  if (body.fix) sentences.push(`What to do: ${body.fix}.`);
  return sentences.map((text, i) => (i ? text : text.replace(/[.]?$/, "."))).join(" ").replaceAll("_", " ");
}

export async function request(path, options = {}) {
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer. Is the command still running in its window?");
  }
  const body = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(formatError(body));
  return body;
}

export const postJson = (path, value) => request(path, {
  method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(value),
});

export const uploadFile = (file) => request("/api/open", {
  method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: file,
});

export const buildPictureUrl = (key, small) =>
  `/api/picture.png?key=${encodeURIComponent(key)}${small ? "&small=true" : ""}`;
