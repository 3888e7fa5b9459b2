// Tilt from choosing: the logit-logit plot of models that differ by luck alone (kdcore.book.live.chosen_by).
const mean = (values) => values.reduce((a, b) => a + b, 0) / values.length;
const centred = (values) => values.map((v) => v - mean(values));
const dot = (a, b) => a.reduce((sum, v, i) => sum + v * b[i], 0);

function logOdds(logits, k) {
  const others = logits.filter((_, j) => j !== k), most = Math.max(...others);
  return logits[k] - most - Math.log(others.reduce((sum, z) => sum + Math.exp(z - most), 0));
}

// Linear interpolation, as numpy's.
function quantile(values, share) {
  const sorted = [...values].sort((a, b) => a - b), at = share * (values.length - 1), i = Math.floor(at);
  return sorted[i] + (at - i) * ((sorted[i + 1] ?? sorted[i]) - sorted[i]);
}

function chosenBy(draw, chooser, luck, shared) {
  const x = [], y = [], z = [], kept = Math.sqrt(1 - shared ** 2);
  for (const [own, other] of [["teacher", "student"], ["student", "teacher"]]) { // each example twice, lucks exchanged
    draw.truth.forEach((truth, i) => {
      const model = (lucky) => truth.map((v, j) => (v + luck * lucky(j)) / 100);
      const teacher = model((j) => draw[own][i][j]), third = model((j) => draw.third[i][j]);
      const student = model((j) => shared * draw[own][i][j] + kept * draw[other][i][j]);
      const by = chooser === "teacher" ? teacher : third, k = by.indexOf(Math.max(...by));
      x.push(logOdds(teacher, k));
      y.push(logOdds(student, k));
      z.push(logOdds(by, k));
    });
  }
  const first = quantile(z, 0.25), low = z.map((v) => v <= first), bottom = [...z.keys()].filter((i) => low[i]);
  const around = centred(z);
  return {
    x, y, low, slope: dot(centred(y), around) / dot(centred(x), around),
    below: mean(bottom.map((i) => +(y[i] < x[i]))), shift: mean(bottom.map((i) => y[i] - x[i])),
  };
}

kdLive("tilt", (data, box) => {
  const { line, move } = kdPlane(data.plane);
  const dots = [...box.querySelectorAll("circle")], fit = box.querySelector("path.kd-live-fit");
  return ({ chooser, luck, shared }) => {
    const { x, y, low, slope, below, shift } = chosenBy(data, chooser, +luck, +shared);
    dots.forEach((dot, i) => {
      move(dot, x[i], y[i]);
      dot.classList.toggle("kd-live-low", low[i]);
    });
    const ends = [Math.min(...x), Math.max(...x)], [across, up] = [mean(x), mean(y)];
    fit.setAttribute("d", line(ends.map((end) => [end, up + slope * (end - across)])));
    const how = +luck === 0 ? "No model has any luck: all three are the truth."
      : +shared === 0 ? "Nothing is distilled: teacher and student are the truth plus luck of their own."
      : +shared === 1 ? "The student is a copy of its teacher."
      : `The student has ${Math.round(100 * shared)} % of its teacher’s luck, and luck of its own.`;
    const moved = Math.abs(shift) < 0.005 ? "0.00" : `${shift > 0 ? "+" : "−"}${Math.abs(shift).toFixed(2)}`;
    const words = `${chooser === "teacher" ? "The teacher" : "A third model"} chooses. Slope ${slope.toFixed(2)}; of the bottom quartile ` +
      `${(100 * below).toFixed(0)} % lie below the diagonal, mean shift ${moved} log-odds. ${how}`;
    return { words, shown: { luck: (+luck).toFixed(1), shared: `${Math.round(100 * shared)} %` } };
  };
});
