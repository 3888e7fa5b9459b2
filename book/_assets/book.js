// Small repairs for a book that is read without a server.

// 1. Scripts and icon fonts that the widget manager asks for come from the book, at any page depth.
var require = { baseUrl: new URL("vendor/", document.currentScript.src).href };

// 2. The widget manager calls MathJax 2 by name. The book has MathJax 3 and plain Unicode in widget labels, so the call may do nothing.
window.addEventListener("load", () => {
  if (window.MathJax && !window.MathJax.Hub) window.MathJax.Hub = { Queue() {} };
});

// 3. Sliders get the name a reader sees next to them, and say the value shown rather than its position.
function nameSliders() {
  for (const box of document.querySelectorAll(".widget-slider")) {
    const handle = box.querySelector("[role=slider]");
    if (!handle) continue;
    const label = box.querySelector(".widget-label");
    const readout = box.querySelector(".widget-readout");
    const set = (name, value) => value && handle.getAttribute(name) !== value && handle.setAttribute(name, value);
    set("aria-label", label && label.textContent.trim());
    set("aria-valuetext", readout && readout.textContent.trim());
  }
}
document.addEventListener("DOMContentLoaded", () => {
  if (document.querySelector('script[type="application/vnd.jupyter.widget-state+json"]')) {
    new MutationObserver(nameSliders).observe(document.body, { childList: true, subtree: true, characterData: true });
  }
});

// 4. The sidebar with the title and the search is a landmark, as all other parts of a page are.
document.addEventListener("DOMContentLoaded", () => {
  const sidebar = document.getElementById("pst-primary-sidebar");
  if (sidebar) sidebar.setAttribute("role", "complementary");
});

// 5. Opened as a file, a page may not read the other pages: search lists what it found, without an excerpt of each.
document.addEventListener("DOMContentLoaded", () => {
  if (location.protocol === "file:") DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
});

// 6. A link into folded evidence opens it.
function unfold() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (!target) return;
  const folded = [...target.querySelectorAll(":scope > details.kd-evidence")];
  for (let node = target; node; node = node.parentElement) if (node.matches("details")) folded.push(node);
  for (const node of folded) node.open = true;
  if (folded.length) target.scrollIntoView();
}
window.addEventListener("hashchange", unfold);
document.addEventListener("DOMContentLoaded", unfold);

// 7. A figure is enlarged to the window by its button, or by a click on it; Escape or a click closes it.
document.addEventListener("DOMContentLoaded", () => {
  const box = document.createElement("dialog");
  box.className = "kd-zoom";
  box.setAttribute("aria-label", "Enlarged figure");
  box.addEventListener("click", () => box.close());
  for (const image of document.querySelectorAll("figure img.dark-light")) {
    const line = image.closest("figure").querySelector(".kd-downloads");
    if (!line) continue;
    const enlarge = () => { box.replaceChildren(image.cloneNode()); box.showModal(); };
    const button = document.createElement("button");
    button.textContent = "Enlarge";
    button.addEventListener("click", enlarge);
    line.prepend(button, " · ");
    image.addEventListener("click", enlarge);
  }
  document.body.append(box);
});
