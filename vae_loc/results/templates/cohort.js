"use strict";
// Sorting and finding in the cohort's table. Empty cells stay last.
(() => {
  const table = document.getElementById("cohort");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const headers = [...table.tHead.rows[0].cells];

  const compare = (column, sign) => (one, other) => {
    const [a, b] = [one, other].map((row) => row.cells[column].dataset.value);
    if (a === "" || b === "") return (a === "") - (b === "");
    const [x, y] = [Number(a), Number(b)];
    return sign * (Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, undefined, { numeric: true }) : x - y);
  };

  headers.forEach((header, column) => {
    header.querySelector("button")?.addEventListener("click", () => {
      const rising = header.getAttribute("aria-sort") !== "ascending";
      headers.forEach((other) => other.hasAttribute("aria-sort") && other.setAttribute("aria-sort", "none"));
      header.setAttribute("aria-sort", rising ? "ascending" : "descending");
      body.append(...[...rows].sort(compare(column, rising ? 1 : -1)));
    });
  });

  document.getElementById("find").addEventListener("input", (event) => {
    const wanted = event.target.value.toLowerCase();
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
    document.getElementById("shown").textContent = wanted ? `${rows.filter((row) => !row.hidden).length} of ${rows.length}` : "";
  });
  document.body.dataset.viewer = "ready";
})();
