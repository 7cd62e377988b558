"use strict";
// Tables sort by the column whose head is clicked: numbers from the best down, texts from A; again to turn round.

const MISSING = "–";

function keyOf(cell) {
  const text = cell.textContent.trim();
  const value = parseFloat((cell.dataset.value ?? text).replace("−", "-"));
  return { text, value, missing: text === "" || text.startsWith(MISSING) };
}

function sortBy(table, column, descending) {
  const body = table.tBodies[0];
  const rows = Array.from(body.rows, (row) => ({ row, key: keyOf(row.cells[column]) }));
  const present = rows.filter(({ key }) => !key.missing);
  const numbers = present.every(({ key }) => !Number.isNaN(key.value));
  const compare = (a, b) => (numbers ? a.value - b.value : a.text.localeCompare(b.text, "en", { numeric: true }));
  present.sort((a, b) => (descending ? -1 : 1) * compare(a.key, b.key));
  // What is missing comes last, whichever way round.
  body.append(...[...present, ...rows.filter(({ key }) => key.missing)].map(({ row }) => row));
}

function isNumeric(table, column) {
  const keys = Array.from(table.tBodies[0].rows, (row) => keyOf(row.cells[column])).filter((key) => !key.missing);
  return keys.length > 0 && keys.every((key) => !Number.isNaN(key.value));
}

// The head of each column: the lowest cell above it, heads over several rows and columns considered.
function leaves(table) {
  const taken = [];
  const rows = Array.from(table.tHead.rows);
  const found = [];
  rows.forEach((row, r) => {
    let column = 0;
    for (const cell of row.cells) {
      while (taken[r]?.[column]) column += 1;
      for (let i = 0; i < cell.rowSpan; i += 1) {
        for (let j = 0; j < cell.colSpan; j += 1) (taken[r + i] ??= [])[column + j] = true;
      }
      if (r + cell.rowSpan >= rows.length && cell.colSpan === 1) found[column] = cell;
      column += cell.colSpan;
    }
  });
  return found;
}

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = leaves(table);
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      const descending = now === "none" ? isNumeric(table, column) : now === "ascending";
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", descending ? "descending" : "ascending");
      sortBy(table, column, descending);
    });
  });
}
