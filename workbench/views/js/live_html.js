// Text that the server writes anew while the page is open. A button of class "copy" takes the text
// of the <pre> beside it to the clipboard.

async function copied(button) {
  const text = button.parentElement.querySelector("pre").textContent;
  try {
    await navigator.clipboard.writeText(text);
    return "Copied";
  } catch {
    return "Select the text and copy it";
  }
}

export function render({ model }) {
  const box = document.createElement("div");
  const write = () => { box.innerHTML = model.html; };
  box.addEventListener("click", async (event) => {
    const button = event.target.closest("button.copy");
    if (button) button.textContent = await copied(button);
  });
  model.on("html", write);
  write();
  return box;
}
