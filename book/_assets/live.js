// What the live models share (kdcore/book/live.py writes their containers): controls that appear where scripts run, a
// picture that follows them, and words that are read aloud once a control rests.

// kdLive(name, make): make(data, box) is asked once for each container of that name, and returns a function of the
// controls' values, {name: text}. It draws, and answers {words, shown: {name: what stands beside that slider}}.
function kdLive(name, make) {
  const start = (box) => {
    const form = box.querySelector("form"), words = box.querySelector(".kd-live-words");
    const draw = make(JSON.parse(box.querySelector("script").textContent), box);
    let waiting;
    const update = () => {
      const said = draw(Object.fromEntries(new FormData(form)));
      for (const [control, text] of Object.entries(said.shown ?? {})) {
        form.elements[control].setAttribute("aria-valuetext", text);
        form.elements[control].nextElementSibling.textContent = text;
      }
      clearTimeout(waiting);
      waiting = setTimeout(() => { words.textContent = said.words; }, 200);
    };
    form.addEventListener("input", update);
    form.addEventListener("reset", () => setTimeout(update));
    form.addEventListener("submit", (event) => event.preventDefault());
    form.hidden = false;
    update();
  };
  document.addEventListener("DOMContentLoaded", () => document.querySelectorAll(`.kd-live[data-model="${name}"]`).forEach(start));
}

// The scale of a Plane of live.py.
function kdPlane({ x, y, log, box: [left, right, top, bottom] }) {
  const share = (v, [a, b], isLog) => (isLog ? Math.log(v / a) / Math.log(b / a) : (v - a) / (b - a));
  const X = (v) => left + share(v, x, log.includes("x")) * (right - left);
  const Y = (v) => bottom - share(v, y, log.includes("y")) * (bottom - top);
  const line = (points) => `M${points.map(([u, v]) => `${X(u).toFixed(1)} ${Y(v).toFixed(1)}`).join("L")}`;
  const move = (mark, u, v) => { mark.style.transform = `translate(${X(u).toFixed(1)}px, ${Y(v).toFixed(1)}px)`; };
  return { X, Y, line, move };
}
