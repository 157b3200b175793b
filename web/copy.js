// Every button with `data-copy="ID"` copies the text of the element with that id. Elements with `data-local` say what is so
// with an address that only this computer knows.

for (const button of document.querySelectorAll("[data-copy]")) {
  const label = button.textContent;
  let restore = 0;
  button.addEventListener("click", async () => {
    button.textContent = (await copy(document.getElementById(button.dataset.copy))) ? "Copied" : "Press Ctrl+C";
    clearTimeout(restore);
    restore = setTimeout(() => (button.textContent = label), 2000);
  });
}

const local = /^(localhost|127(\.\d+){3}|\[::1\])$/.test(location.hostname);
for (const word of document.querySelectorAll("[data-local]")) word.hidden = !local;

/** Without a secure origin there is no clipboard; the text is at least selected then. */
async function copy(source) {
  try {
    await navigator.clipboard.writeText(source.textContent);
    return true;
  } catch {
    getSelection().selectAllChildren(source);
    return document.execCommand("copy");
  }
}
