"use strict";
(() => {
  // Without scripts the page is whole: what only works with them is shown here.
  const only = document.getElementById("only");
  only.parentElement.hidden = false;
  const filter = () => document.body.classList.toggle("only", only.checked);
  only.addEventListener("change", filter);
  filter();

  // A link to a check that is folded away or filtered out has to show it.
  const reveal = () => {
    let row = null;
    try {
      row = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    } catch {
      return;
    }
    if (!row || !row.closest("tr, .wide")) return;
    const fold = row.closest("details");
    if (fold) fold.open = true;
    if (!row.offsetParent) {
      only.checked = false;
      filter();
    }
    row.scrollIntoView();
  };
  window.addEventListener("hashchange", reveal);
  reveal();

  addEventListener("beforeprint", () => {
    for (const fold of document.querySelectorAll("details.passing")) fold.open = true;
  });

  const dialog = document.getElementById("large");
  const body = document.getElementById("large-body");
  for (const button of document.querySelectorAll("figure button")) {
    button.addEventListener("click", () => {
      const picture = button.querySelector("img");
      const copy = new Image();
      copy.src = picture.src;
      copy.alt = picture.alt;
      // Figures are drawn at twice the size they are read at; small ones fill the window.
      const width = Math.max(picture.naturalWidth, Math.min(window.innerWidth * 0.94, 2 * picture.naturalWidth));
      copy.style.width = picture.naturalWidth ? `${width}px` : "100%";
      body.replaceChildren(copy);
      body.classList.toggle("picture", button.parentElement.classList.contains("picture"));
      document.getElementById("large-title").textContent = picture.alt;
      dialog.showModal();
    });
  }
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  dialog.addEventListener("close", () => body.replaceChildren());

  // The navigation marks the section that is being read.
  const links = new Map();
  for (const link of document.querySelectorAll(".bar a")) links.set(link.hash.slice(1), link);
  const parts = [...document.querySelectorAll("main > section[id]")].filter((part) => links.has(part.id));
  let current = null;
  const mark = () => {
    const read = parts.filter((part) => part.getBoundingClientRect().top < window.innerHeight * 0.3).pop();
    const link = links.get(read ? read.id : "top");
    if (link === current) return;
    if (current) current.removeAttribute("aria-current");
    current = link;
    link.setAttribute("aria-current", "true");
    const list = link.closest("ul"); // scrolled by hand: scrollIntoView would move the page as well
    list.scrollLeft += link.getBoundingClientRect().left - list.getBoundingClientRect().left - 40;
  };
  let waiting = false;
  const later = () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      mark();
    });
  };
  addEventListener("scroll", later, { passive: true });
  mark();
})();
