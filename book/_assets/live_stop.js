// Stop the teacher early: the linear model in closed form (kdcore.book.live.stopped, kdcore.metrics.eigen).
function stopped({ lam, worlds }, world, T, t) {
  const flow = (time) => lam.map((l) => -Math.expm1(-l * time));
  const { beta, noise } = worlds[world], teacher = flow(T), alone = flow(t);
  const g = { teacher, student: alone.map((own, k) => own * teacher[k]), alone };
  const each = (share) => share.map((s, k) => lam[k] * (1 - s) ** 2 * beta[k] ** 2 + noise * s ** 2);
  const [student, oneHot] = [each(g.student), each(g.alone)];
  const risk = Object.fromEntries(Object.entries(g).map(([who, share]) => [who, each(share).reduce((a, b) => a + b)]));
  const best = lam.map((l, k) => (l * beta[k] ** 2) / (l * beta[k] ** 2 + noise));
  return { g, risk, best, better: student.map((r, k) => r < oneHot[k]) };
}

kdLive("stop", (data, box) => {
  const risks = kdPlane(data.risks), shares = kdPlane(data.shares), [left, right] = box.querySelectorAll("svg");
  const STRIP = 1.06, number = (v) => `${+v.toPrecision(3)}`;
  return ({ world, T: logT, t: logt }) => {
    const T = 10 ** logT, t = 10 ** logt, { g, risk, best, better } = stopped(data, world, T, t);
    const over = data.times.map((time) => stopped(data, world, time, t).risk);
    const trace = (svg, who, d) => svg.querySelector(`path.kd-live-${who}`).setAttribute("d", d);
    for (const who of Object.keys(g)) {
      trace(left, who, risks.line(over.map((r, i) => [data.times[i], r[who]])));
      trace(right, who, shares.line(g[who].map((share, k) => [k + 1, share])));
    }
    trace(right, "best", shares.line(best.map((share, k) => [k + 1, share])));
    const at = (k) => shares.X(k).toFixed(1), up = shares.Y(STRIP).toFixed(1);
    trace(right, "better", better.slice(0, -1).map((is, k) => (is ? `M${at(k + 1)} ${up}H${at(k + 2)}` : "")).join(""));
    const [, , , , top, bottom] = [0, 0, ...data.risks.box];
    trace(left, "now", `M${risks.X(T).toFixed(1)} ${top}V${bottom}`);
    for (const who of ["teacher", "student"]) risks.move(left.querySelector(`circle.kd-live-${who}`), T, risk[who]);
    const count = better.filter(Boolean).length, wins = risk.student < risk.alone;
    const words = `Teacher stopped at T = ${number(T)}, student at t = ${number(t)}. Risks: teacher ${risk.teacher.toFixed(3)}, its student ` +
      `${risk.student.toFixed(3)}, one-hot student ${risk.alone.toFixed(3)}. The student is better than the one-hot student along ` +
      `${count} of ${better.length} directions, ${wins ? `and${count ? "" : " yet"} in all` : `${count ? "but" : "and"} not in all`}.`;
    return { words, shown: { T: number(T), t: number(t) } };
  };
});
