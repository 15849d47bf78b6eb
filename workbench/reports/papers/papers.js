// A chart is still until it comes near the window; then it becomes one to point at and zoom.
(() => {
  const draw = async (figure) => {
    const script = figure.querySelector("script[data-chart]");
    const item = JSON.parse(script.textContent);
    figure.classList.add("drawn");
    await Bokeh.embed.embed_item(item, script.dataset.chart);
  };
  const watcher = new IntersectionObserver(
    (seen) => {
      for (const one of seen.filter((entry) => entry.isIntersecting)) {
        watcher.unobserve(one.target);
        draw(one.target);
      }
    },
    { rootMargin: "400px" },
  );
  for (const script of document.querySelectorAll("script[data-chart]")) {
    watcher.observe(script.closest("figure"));
  }
})();
