// The toy model that ties bias to confidence, live. Containers: <div class="kd-toy">still picture</div>.
// Closed forms as in kdcore.metrics.eigen and kdcore.metrics.tilt; tests/test_toy_model.py compares the numbers.
(() => {
  const SHARED = 4, PRIVATE = 1; // eigenvalues: the direction all examples share, and each example's own
  const filter = (lam, ...times) => times.reduce((g, time) => g * -Math.expm1(-lam * time), 1);

  // Teacher stopped at T, student at t, share of flipped labels -> filters [shared, private], margins, slope.
  function toyModel(T, t, flipped) {
    const teacher = [filter(SHARED, T), filter(PRIVATE, T)];
    const student = [filter(SHARED, t, T), filter(PRIVATE, t, T)];
    // exp(-S lam) = exp(-lam t) + exp(-lam T) - exp(-lam (t + T)): the one-hot run that is level along the shared direction
    const left = Math.exp(-SHARED * t) + Math.exp(-SHARED * T) - Math.exp(-SHARED * (t + T));
    const oneHot = filter(PRIVATE, -Math.log(left) / SHARED);
    const margins = ([shared, own]) => [(1 - 2 * flipped) * shared + 2 * flipped * own, 2 * (1 - flipped) * own - (1 - 2 * flipped) * shared];
    const [clean, wrong] = margins(teacher), [clean2, wrong2] = margins(student);
    const sign = wrong > 0 ? 1 : -1; // which class the teacher predicts for a mislabelled example: the given one, or the true one
    const slope = (clean2 - sign * wrong2) / (clean - sign * wrong);
    return { teacher, student, oneHot, clean: [clean, clean2], wrong: [wrong, wrong2], sign, slope };
  }
  window.toyModel = toyModel;

  // ---- drawing: four panels of 220 x 200 units; ink is the page's text colour
  const W = 220, H = 200, LEFT = 34, RIGHT = 212, TOP = 26, BOTTOM = 164;

  function panel(title, xlabel, [x0, x1], [y0, y1], xticks, yticks, draw) {
    const X = (v) => (LEFT + ((v - x0) / (x1 - x0)) * (RIGHT - LEFT)).toFixed(1);
    const Y = (v) => (BOTTOM - ((v - y0) / (y1 - y0)) * (BOTTOM - TOP)).toFixed(1);
    const text = (x, y, s, anchor = "middle") => `<text x="${x}" y="${y}" text-anchor="${anchor}">${s}</text>`;
    const ticks = xticks.map(([v, s]) => text(X(v), BOTTOM + 14, s)).join("") +
      yticks.map((v) => text(LEFT - 4, +Y(v) + 4, `${v}`.replace("-", "−"), "end")).join("");
    const path = (points, style) => `<path d="M${points.map(([x, y]) => `${X(x)} ${Y(y)}`).join("L")}" ${style}/>`;
    const dot = (x, y, r, style) => `<circle cx="${X(x)}" cy="${Y(y)}" r="${r}" ${style}/>`;
    const word = (x, y, s, anchor) => text(X(x), Y(y), s, anchor);
    return `<svg viewBox="0 0 ${W} ${H}" aria-hidden="true"><text x="${W / 2}" y="14" text-anchor="middle" font-weight="bold">${title}</text>
      <path d="M${LEFT} ${TOP}V${BOTTOM}H${RIGHT}" ${THIN}/>${ticks}${text((LEFT + RIGHT) / 2, H - 5, xlabel)}${draw({ path, dot, word })}</svg>`;
  }
  const THIN = 'fill="none" stroke="currentColor" stroke-width="1" opacity="0.55"';
  const LINE = {
    teacher: 'fill="none" stroke="var(--kd-teacher)" stroke-width="2.2"',
    student: 'fill="none" stroke="var(--kd-student)" stroke-width="2.2" stroke-dasharray="6 3"',
  };
  const DOT = { teacher: 'fill="var(--kd-teacher)"', student: 'fill="var(--kd-student)"' };
  const range = (n, f) => Array.from({ length: n + 1 }, (_, i) => f(i / n));
  const upTo = (time, at) => [[0, 0], ...range(90, (u) => at(time * 10 ** (-4 * (1 - u))))];

  function pictures(T, t, flipped) {
    const m = toyModel(T, t, flipped);
    const lams = [[-1, "0.1"], [0, "1"], [Math.log10(SHARED), `${SHARED}`]], share = [[0, "0"], [0.5, "0.5"], [1, "1"]];
    const filters = panel("Filters: share learnt", "eigenvalue λ", [-1.5, 1.5], [0, 1.02], lams, [0, 0.5, 1], ({ path, dot }) =>
      [["teacher", [T]], ["student", [t, T]]].map(([who, times]) =>
        path(range(90, (u) => [3 * u - 1.5, filter(10 ** (3 * u - 1.5), ...times)]), LINE[who]) +
        [PRIVATE, SHARED].map((lam) => dot(Math.log10(lam), filter(lam, ...times), 4, DOT[who])).join("")).join(""));
    const trajectories = panel("Private over shared", "shared direction", [0, 1.03], [0, 1.02], share, [0, 0.5, 1], ({ path, dot }) =>
      path(upTo(T, (s) => [filter(SHARED, s), filter(PRIVATE, s)]), LINE.teacher) + dot(...m.teacher, 4, DOT.teacher) +
      path([m.student, [m.student[0], m.oneHot]], THIN) +
      path(upTo(t, (s) => [filter(SHARED, s, T), filter(PRIVATE, s, T)]), LINE.student) + dot(...m.student, 4, DOT.student));
    const margins = panel("Margins, given label", "", [0, 4], [-1, 1.03], [[1, "clean"], [3, "mislabelled"]], [-1, 0, 1], ({ path, dot }) =>
      path([[0, 0], [4, 0]], THIN) + [m.clean, m.wrong].map(([a, b], i) =>
        path([[2 * i + 0.8, a], [2 * i + 1.2, b]], THIN) + dot(2 * i + 0.8, a, 5, DOT.teacher) + dot(2 * i + 1.2, b, 5, DOT.student)).join(""));
    const points = [[m.clean[0], m.clean[1], 1 - flipped], [m.sign * m.wrong[0], m.sign * m.wrong[1], flipped]];
    const at = (x) => m.clean[1] + m.slope * (x - m.clean[0]); // the line through both kinds of example, cut at the edges
    const line = flipped > 0 && Number.isFinite(m.slope); // one kind of example is one point, and no line
    const within = (v, low, high) => Math.min(high, Math.max(low, v));
    const cut = (x) => (m.slope ? within(m.clean[0] + (within(at(x), -0.6, 1.03) - m.clean[1]) / m.slope, 0, 1.03) : x);
    const ends = line ? [0, 1.03].map(cut) : [];
    const plot = panel("Student over teacher", "teacher’s margin, its class", [0, 1.03], [-0.6, 1.03], share, [-0.5, 0, 0.5, 1], ({ path, dot, word }) =>
      path([[0, 0], [1.03, 1.03]], THIN + ' stroke-dasharray="3 3"') + (ends.length ? path(ends.map((x) => [x, at(x)]), LINE.student) : "") +
      points.map(([x, y, share]) => (share ? dot(x, y, 2 + 6 * Math.sqrt(share), 'fill="var(--kd-student)" stroke="currentColor"') : "")).join("") +
      word(1.03, -0.55, `slope ${line ? m.slope.toFixed(2) : "–"}`, "end"));
    return [filters, trajectories, margins, plot].join("");
  }

  function words(T, t, flipped) {
    const m = toyModel(T, t, flipped), two = (v) => v.toFixed(2).replace("-", "−");
    const verdict = flipped === 0 ? "No label is flipped, so there is one kind of example and no slope."
      : m.sign < 0 ? "The teacher has not learnt the flipped labels: it predicts the true classes."
      : m.slope > 1.005 ? "The student exaggerates the teacher’s confidence."
      : m.slope < 0.995 ? "The student is less confident of both kinds and does not exaggerate: it has not finished the shared direction."
      : m.clean[0] - m.clean[1] > 0.02 ? "The student is less confident of both kinds, by as much." : "Student and teacher are as confident.";
    const kinds = flipped === 0 ? "" : `, mislabelled ${two(m.wrong[0])} to ${two(m.wrong[1])}. Slope ${two(m.slope)}`;
    return `Shared direction: teacher ${two(m.teacher[0])}, student ${two(m.student[0])}. ` +
      `Private ones: teacher ${two(m.teacher[1])}, student ${two(m.student[1])}; a one-hot run level with the student along the shared one has ` +
      `${two(m.oneHot)}. Margins, teacher to student: clean ${two(m.clean[0])} to ${two(m.clean[1])}${kinds}. ${verdict}`;
  }

  // ---- one container
  const time = (i) => 10 ** (i / 20); // sliders of time run over logarithms, -20 to 20
  const SLIDERS = [
    ["teacher’s time T", -20, 20, 1, (v) => time(v).toFixed(2)],
    ["student’s time t", -20, 20, 1, (v) => time(v).toFixed(2)],
    ["flipped labels", 0, 45, 5, (v) => `${v} %`],
  ];

  function start(box, number) {
    const live = document.createElement("div");
    live.className = "kd-toy-live";
    live.innerHTML = SLIDERS.map(([name, low, high, step], i) => `<div class="kd-toy-row"><label for="kd-toy-${number}-${i}">${name}</label>
      <input type="range" id="kd-toy-${number}-${i}" min="${low}" max="${high}" step="${step}"><span aria-hidden="true"></span></div>`).join("") +
      '<p class="kd-toy-key"><span style="color:var(--kd-teacher)">●</span> teacher (one-hot) <span style="color:var(--kd-student)">●</span> student</p>' +
      '<div class="kd-toy-panels"></div><p class="kd-toy-words" role="status" aria-live="polite"></p>';
    const inputs = [...live.querySelectorAll("input")];
    let waiting;
    const update = () => {
      inputs.forEach((input, i) => {
        const shown = SLIDERS[i][4](+input.value);
        input.setAttribute("aria-valuetext", shown);
        input.nextElementSibling.textContent = shown;
      });
      const values = [time(+inputs[0].value), time(+inputs[1].value), inputs[2].value / 100];
      live.querySelector(".kd-toy-panels").innerHTML = pictures(...values);
      clearTimeout(waiting); // read aloud once the slider rests
      waiting = setTimeout(() => { live.querySelector(".kd-toy-words").textContent = words(...values); }, 200);
    };
    inputs.forEach((input, i) => { input.value = box.dataset.start.split(" ")[i]; input.addEventListener("input", update); });
    box.append(live);
    box.classList.add("kd-toy-on");
    update();
  }
  document.addEventListener("DOMContentLoaded", () => document.querySelectorAll(".kd-toy").forEach(start));
})();
