// Reads the page again every few seconds and puts in what has changed. Without it: reload.
"use strict";
(() => {
  const seconds = Number(document.body.dataset.refresh);
  if (!seconds) return;
  let isPaused = false;
  let every = seconds;
  const button = document.createElement("button");
  button.type = "button";
  const say = () => { button.textContent = isPaused ? "Go on updating" : "Pause updates"; };
  say();
  button.addEventListener("click", () => { isPaused = !isPaused; say(); });
  document.getElementById("live-control").append(button);
  const news = document.getElementById("live-news");

  // What has the focus, so that it has it again in what replaces it.
  const mark = (element) => {
    if (!element || !element.closest("[data-live]")) return null;
    const part = element.closest("[data-live]");
    const all = [...part.querySelectorAll("a, button, summary, [tabindex]")];
    return { name: part.dataset.live, href: element.getAttribute("href"), place: all.indexOf(element) };
  };
  const restore = (part, wanted) => {
    const all = [...part.querySelectorAll("a, button, summary, [tabindex]")];
    const same = wanted.href && all.find((one) => one.getAttribute("href") === wanted.href);
    const found = same || all[wanted.place];
    if (found) found.focus({ preventScroll: true });
  };
  const put = (read) => {
    for (const part of document.querySelectorAll("[data-live]")) {
      const fresh = read.querySelector(`[data-live="${part.dataset.live}"]`);
      if (!fresh || fresh.innerHTML === part.innerHTML) continue;
      const focused = mark(document.activeElement);
      const isNews = fresh.dataset.news && fresh.dataset.news !== part.dataset.news;
      part.replaceChildren(...fresh.childNodes);
      if (fresh.dataset.news !== undefined) part.dataset.news = fresh.dataset.news;
      if (isNews) news.textContent = fresh.dataset.news;
      if (focused && focused.name === part.dataset.live) restore(part, focused);
    }
    const time = document.querySelector("footer time");
    time.replaceWith(read.querySelector("footer time"));
    // A run that began or ended changes how often it is worth asking; 0 is over.
    every = Number(read.body.dataset.refresh);
  };
  const look = async () => {
    if (!isPaused && !document.hidden && !getSelection().toString()) {
      try {
        const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
        if (answer.ok) put(new DOMParser().parseFromString(await answer.text(), "text/html"));
      } catch {
        every = Math.min(60, every * 2); // the dashboard was stopped: asked less and less often
      }
    }
    if (every) setTimeout(look, every * 1000);
    else button.remove();
  };
  setTimeout(look, every * 1000);
})();
