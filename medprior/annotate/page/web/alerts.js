// Errors in the bar below the header.

const $ = (id) => document.getElementById(id);

export function showAlert(text) {
  $("alert").hidden = !text;
  $("alert").firstElementChild.textContent = text;
}

export function withAlert(work) {
  return async (...args) => {
    showAlert("");
    try {
      await work(...args);
    } catch (error) {
      showAlert(error.message || String(error));
    }
  };
}
