// Questions and enlarged pictures as dialogs of the page.

const $ = (id) => document.getElementById(id);

// The value of the button that the user chooses in a <dialog>; "cancel" for Escape.
export function ask(id) {
  const dialog = $(id);
  dialog.returnValue = "cancel";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue || "cancel"), { once: true });
  });
}

// Copy a text, and say so on the button for a moment.
export async function copyText(text, button) {
  const label = button.textContent;
  try {
    await navigator.clipboard.writeText(text);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Press Ctrl+C";
    const range = document.createRange();
    range.selectNodeContents($("next"));
    window.getSelection().removeAllRanges();
    window.getSelection().addRange(range);
  }
  setTimeout(() => { button.textContent = label; }, 2500);
}
