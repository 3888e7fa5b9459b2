// Change the ruler: the same students and teachers, asked about other images (kdcore.book.live.ruler).
kdLive("ruler", (data, box) => {
  const { X, move } = kdPlane(data.plane);
  const marks = [...box.querySelectorAll("[data-trial]")], dots = [...box.querySelectorAll("circle")];
  const seeds = data.seeds[0].length;
  return ({ ruler }) => {
    const { name, mean, half, seeds: values, words } = data.rulers[ruler];
    marks.forEach((mark, i) => {
      move(mark, mean[i], data.accuracy[i]);
      const reach = (X(half[i]) - X(0)).toFixed(1);
      mark.querySelector(".kd-live-across").setAttribute("d", `M-${reach} 0H${reach}`);
    });
    dots.forEach((dot, k) => {
      const [trial, seed] = [Math.floor(k / seeds), k % seeds];
      move(dot, values[trial][seed], data.seeds[trial][seed]);
    });
    return { words, shown: { ruler: name } };
  };
});
