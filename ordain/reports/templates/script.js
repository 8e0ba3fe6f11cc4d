// What the page can do beyond being read: sort tables, open what a link or the printer asks for.
"use strict";
(() => {
  const numberOf = (text) => {
    const match = text.replace(/,/g, "").replace(/−/g, "-").match(/-?\d+(\.\d+)?(e[+-]?\d+)?/i);
    return match ? parseFloat(match[0]) : null;
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      while (head.firstChild) button.append(head.firstChild);
      head.append(button);
      button.addEventListener("click", () => {
        const isUp = head.getAttribute("aria-sort") !== "ascending";
        heads.forEach((other) => other.removeAttribute("aria-sort"));
        head.setAttribute("aria-sort", isUp ? "ascending" : "descending");
        const isNumber = head.classList.contains("number");
        const keyed = [...table.tBodies[0].rows].map((row, place) => {
          const text = row.cells[column].textContent.trim();
          return { row, place, key: isNumber ? numberOf(text) : text.toLowerCase() };
        });
        keyed.sort((a, b) => {
          // What has no value stays at the end either way.
          if (a.key === null || b.key === null) return (a.key === null) - (b.key === null);
          const order = isNumber ? a.key - b.key : a.key.localeCompare(b.key);
          return (isUp ? order : -order) || a.place - b.place;
        });
        table.tBodies[0].append(...keyed.map((entry) => entry.row));
      });
    });
  }
  const open = () => {
    const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (target && target.tagName === "DETAILS") target.open = true;
  };
  window.addEventListener("hashchange", open);
  open();
  window.addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details")) details.open = true;
  });
  const links = [...document.querySelectorAll("nav a")];
  const byId = new Map(links.map((link) => [link.hash.slice(1), link]));
  const seen = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      links.forEach((link) => link.removeAttribute("aria-current"));
      byId.get(entry.target.id).setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-20% 0px -70% 0px" });
  for (const section of document.querySelectorAll("main > section")) seen.observe(section);
})();
