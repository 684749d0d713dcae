// What the page asks its server; errors come back as sentences.

function sentence(body) {
  const parts = [body.message || "The server did not answer as expected."];
  if (body.where && !/^[-/]/.test(body.where)) parts[0] = `${body.where.replaceAll("_", " ")}: ${parts[0]}`;
  if (body.expected) parts.push(`Expected: ${body.expected}.`);
  if (body.found) parts.push(`Found: ${body.found}.`);
  if (body.fix) parts.push(`What to do: ${body.fix}.`);
  return parts.map((part, i) => (i ? part : part.replace(/[.]?$/, "."))).join(" ").replaceAll("_", " ");
}

export async function ask(path, options = {}) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("The server does not answer. Is the command still running in its window?");
  }
  const body = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Error(sentence(body));
  return body;
}

export const post = (path, value) => ask(path, {
  method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(value),
});

export const upload = (file) => ask("/api/open", {
  method: "POST", headers: { "Content-Type": "application/octet-stream" }, body: file,
});

export const pictureUrl = (key, small) =>
  `/api/picture.png?key=${encodeURIComponent(key)}${small ? "&small=true" : ""}`;
