// Judge it yourself: every claim again, by other margins, controls and seeds (kdcore.book.live.judging). The rule is
// kdcore.stats.verdict, the interval kdcore.stats.mean_interval; Student's t is jStat's.
const AGAINST = ["no effect", "not seen", "contradicted"];

function verdict([, ...bounds], direction, margin, controls) {
  if (!bounds.every(Number.isFinite)) return "undecided";
  const [low, high] = bounds.map((bound) => direction * bound).sort((a, b) => a - b);
  if (-margin <= low && high <= margin) return "no effect";
  if (high < 0) return "contradicted";
  if (low <= 0) return high < margin ? "not seen" : "undecided";
  const words = controls.map((control) => verdict(control, direction, margin, []));
  if (words.some((word) => AGAINST.includes(word))) return "holds only without the control";
  return words.includes("undecided") ? "control undecided" : "reproduced";
}

function meanInterval(values) {
  const n = values.length, mean = values.reduce((a, b) => a + b) / n;
  const spread = Math.sqrt(values.reduce((sum, v) => sum + (v - mean) ** 2, 0) / (n - 1));
  const half = (jStat.studentt.inv(0.975, n - 1) * spread) / Math.sqrt(n);
  return [mean, mean - half, mean + half];
}

// The interval of a statistic over its first seeds.
const over = ({ values, at }, seeds) => (values ? meanInterval(values.slice(0, seeds)) : at[Math.min(seeds, at.length) - 1]);

function judged(claim, times, seeds, counts) {
  const controls = counts ? claim.controls.map((control) => over(control, seeds)) : [];
  return claim.fixed ? claim.word : verdict(over(claim.statistic, seeds), claim.direction, times * claim.margin, controls);
}

kdLive("judge", ({ claims }, box) => {
  const rows = new Map([...box.querySelectorAll("tr[data-word]")].map((row) => [row.dataset.word, row]));
  const squares = claims.map((_, i) => box.querySelector(`[data-claim="${i}"]`));
  const [summary, list] = box.querySelector("details").children;
  const most = +box.querySelector("[name=seeds]").max;
  return ({ margin, seeds, controls }) => {
    const times = 2 ** margin;
    const words = claims.map((claim) => judged(claim, times, +seeds, controls === "on"));
    words.forEach((word, i) => {
      rows.get(word).children[1].append(squares[i]);
      squares[i].classList.toggle("kd-live-changed", word !== claims[i].word);
    });
    const said = [];
    for (const [word, row] of rows) {
      const now = words.filter((other) => other === word).length, before = +row.children[3].textContent;
      row.children[2].textContent = now;
      if (now) said.push(`${now} ${now > 1 ? word.replace("holds", "hold") : word}`);
    }
    const changed = claims.flatMap((claim, i) => (words[i] === claim.word ? [] : [[claim.title, `${claim.word} → ${words[i]}`]]));
    summary.textContent = changed.length ? `${changed.length} of ${claims.length} claims have another word` : "No claim has another word";
    list.replaceChildren(...changed.map(([title, change]) => {
      const line = document.createElement("li");
      line.textContent = `${title}: ${change}`;
      return line;
    }));
    const shown = { margin: `× ${+times.toPrecision(2)}`, seeds: +seeds === most ? "all" : `the first ${seeds}` };
    const settings = `Margins ${shown.margin}, seeds: ${shown.seeds}, controls ${controls ? "count" : "do not count"}`;
    const published = times === 1 && +seeds === most && controls;
    return { words: `${published ? "As published" : settings}: ${said.join(", ")}.`, shown };
  };
});
