"use strict";
// The table of all comparisons and the details of a cell. Text is only ever set as text.
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const width = data.columns.length;
  const [PASSED, HEAT, WORDS, REASON] = [width, width + 1, width + 2, width + 3];
  const at = Object.fromEntries(data.columns.map((name, place) => [name, place]));
  const numeric = new Set(["error", "limit", "ratio", "compared"]);
  const PAGE = 200;

  const byId = (id) => document.getElementById(id);
  const table = byId("records");
  const body = table.tBodies[0];
  const headings = [...table.tHead.rows[0].cells];
  const state = { column: "ratio", descending: true, shown: PAGE, found: [] };

  // Infinite and undefined numbers are strings in JSON; both are beyond every number.
  const number = (value) =>
    typeof value === "number" ? value : value === "inf" || value === "nan" ? Infinity : -1;

  const short = (value) => {
    if (value === null) return "";
    if (typeof value === "string") return value;
    return value === 0 ? "0" : value.toExponential(2);
  };

  const text = (row, name) => {
    const value = row[at[name]];
    if (name === "ratio") return row[WORDS];
    if (name === "compared") return value.toLocaleString("en");
    if (name === "head") return value || data.allHeads;
    if (numeric.has(name)) return short(value);
    return value;
  };

  const rank = (row, name) => {
    if (name !== "ratio") return number(row[at[name]]);
    const ratio = number(row[at.ratio]);
    return row[PASSED] || ratio > 1 ? ratio : Infinity; // a fault is worse than any number
  };

  const words = data.rows.map((row) =>
    [...data.columns.map((name) => text(row, name)), row[REASON], row[PASSED] ? "" : "failed"]
      .join(" ").toLowerCase());

  const compare = (left, right) => {
    const [one, other] = [data.rows[left], data.rows[right]];
    let order;
    if (numeric.has(state.column)) {
      const [a, b] = [rank(one, state.column), rank(other, state.column)];
      order = a < b ? -1 : a > b ? 1 : 0;
    } else {
      order = text(one, state.column).localeCompare(
        text(other, state.column), "en", { numeric: true });
    }
    return (state.descending ? -order : order) || left - right;
  };

  const cell = (content, className) => {
    const made = document.createElement("td");
    made.textContent = content;
    if (className) made.className = className;
    return made;
  };

  const line = (place) => {
    const row = data.rows[place];
    const made = document.createElement("tr");
    made.dataset.record = place;
    for (const name of data.columns) {
      if (name === "ratio") {
        made.append(cell(row[WORDS], `number heat heat-${row[HEAT]}`));
      } else if (name === "note") {
        const last = cell(row[at.note]);
        if (row[REASON]) {
          const reason = document.createElement("div");
          reason.className = "reason";
          reason.textContent = row[REASON];
          last.prepend(reason);
        }
        made.append(last);
      } else {
        made.append(cell(text(row, name), numeric.has(name) ? "number" : ""));
      }
    }
    return made;
  };

  const draw = () => {
    const wanted = byId("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
    const failed = byId("failed").checked;
    state.found = [...data.rows.keys()].filter((place) =>
      (!failed || !data.rows[place][PASSED]) &&
      wanted.every((word) => words[place].includes(word)));
    state.found.sort(compare);
    body.replaceChildren(...state.found.slice(0, state.shown).map(line));
    const shown = Math.min(state.shown, state.found.length);
    byId("count").textContent =
      `${shown.toLocaleString("en")} of ${state.found.length.toLocaleString("en")} shown, ` +
      `${data.rows.length.toLocaleString("en")} in all`;
    byId("more").hidden = shown === state.found.length;
    headings.forEach((heading, place) => {
      const own = data.columns[place] === state.column;
      if (own) heading.setAttribute("aria-sort", state.descending ? "descending" : "ascending");
      else heading.removeAttribute("aria-sort");
    });
  };

  const restart = () => {
    state.shown = PAGE;
    draw();
  };

  headings.forEach((heading, place) => {
    const name = data.columns[place];
    if (numeric.has(name)) heading.classList.add("number");
    heading.addEventListener("click", () => {
      state.descending = state.column === name ? !state.descending : numeric.has(name);
      state.column = name;
      restart();
    });
  });
  byId("filter").addEventListener("input", restart);
  byId("failed").addEventListener("change", restart);
  byId("more").addEventListener("click", () => {
    state.shown += 5 * PAGE;
    draw();
  });

  const dialog = byId("details");
  let selected = null;
  const open = (place) => {
    selected = data.rows[place];
    const facts = data.columns.map((name) => [name === "ratio" ? "error / limit" : name,
      text(selected, name)]);
    facts.push(["not met because", selected[REASON]]);
    byId("details-title").textContent =
      `${selected[at.backend]}: ${selected[at.quantity] || "clause " + selected[at.clause]}`;
    byId("details-facts").replaceChildren(...facts.filter(([, value]) => value !== "").flatMap(
      ([name, value]) => {
        const term = document.createElement("dt");
        const meaning = document.createElement("dd");
        term.textContent = name;
        meaning.textContent = value;
        return [term, meaning];
      }));
    dialog.showModal();
  };
  document.addEventListener("click", (event) => {
    const source = event.target.closest("[data-record]");
    if (source) open(Number(source.dataset.record));
  });
  byId("show-cell").addEventListener("click", () => {
    byId("filter").value = `${selected[at.backend]} ${text(selected, "head")}`;
    byId("failed").checked = false;
    dialog.close();
    restart();
    table.scrollIntoView();
  });
  draw();
})();
