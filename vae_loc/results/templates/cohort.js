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

  const choose = () => {
    const [wanted, only] = ["find", "only"].map((id) => document.getElementById(id).value);
    for (const row of rows) {
      row.hidden = !row.textContent.toLowerCase().includes(wanted.toLowerCase()) || (only !== "" && !row.classList.contains(only));
    }
    const shown = rows.filter((row) => !row.hidden).length;
    document.getElementById("shown").textContent = wanted || only ? `${shown} of ${rows.length}` : "";
  };
  for (const id of ["find", "only"]) document.getElementById(id).addEventListener("input", choose);
  document.body.dataset.viewer = "ready";
})();
