"use strict";
// Tables sort by a click on a column's name, lists of samples are filtered by what is typed; without this script all stands there as well.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
      const compare = (a, b) => {
        const [x, y] = [key(a), key(b)];
        const [m, n] = [x === "" ? NaN : Number(x), y === "" ? NaN : Number(y)];
        if (Number.isNaN(m) || Number.isNaN(n)) {
          return Number.isNaN(m) && Number.isNaN(n) ? x.localeCompare(y) * (down ? -1 : 1) : Number.isNaN(m) - Number.isNaN(n);
        }
        return (m - n) * (down ? -1 : 1);
      };
      const body = table.tBodies[0];
      body.append(...[...body.rows].sort(compare));
    });
  });
}
for (const list of document.querySelectorAll("ol.samples")) {
  if (list.children.length < 4) continue;
  const field = document.createElement("input");
  field.type = "search";
  field.className = "filter";
  field.placeholder = "Show samples with …";
  field.setAttribute("aria-label", "Show only samples that hold this text");
  field.addEventListener("input", () => {
    const wanted = field.value.toLocaleLowerCase();
    for (const item of list.children) item.hidden = !item.textContent.toLocaleLowerCase().includes(wanted);
  });
  list.before(field);
}
// One clip at a time.
document.addEventListener("play", (event) => {
  for (const audio of document.querySelectorAll("audio")) if (audio !== event.target) audio.pause();
}, true);
