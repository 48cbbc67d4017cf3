"use strict";
// Adds sorting, filtering and comparison to the page. Without it, all content is readable.
(() => {
  const LONG = 10; // tables with more rows can be filtered
  const LINES = 12; // most values shown near the pointer

  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  function make(name, properties = {}, ...children) {
    const element = Object.assign(document.createElement(name), properties);
    element.append(...children);
    return element;
  }

  // ---- tables: clicks on a heading sort in ascending, descending, then original order ----

  function keyOf(cell) {
    const data = cell.querySelector("data");
    const text = (data?.value ?? (cell.querySelector("span") ?? cell).textContent).trim();
    if (text === "" || text === "–") return null;
    const value = Number(text.replaceAll(",", "").replace("−", "-"));
    return Number.isNaN(value) ? text : value;
  }

  function compare(a, b) {
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), "en", { numeric: true });
  }

  function sortable(table) {
    const body = table.tBodies[0];
    const original = [...body.rows];
    const headings = [...table.tHead.rows[0].cells];
    if (original.length < 2) return;
    headings.forEach((heading, column) => {
      const button = make("button", { type: "button", className: "sort" }, ...heading.childNodes);
      heading.append(button);
      button.addEventListener("click", () => {
        const next = { ascending: "descending", descending: null }[heading.getAttribute("aria-sort")];
        const order = next === undefined ? "ascending" : next;
        headings.forEach((other) => other.removeAttribute("aria-sort"));
        if (order) heading.setAttribute("aria-sort", order);
        const keys = new Map(original.map((row) => [row, keyOf(row.cells[column])]));
        const present = original.filter((row) => keys.get(row) !== null);
        const missing = original.filter((row) => keys.get(row) === null);
        const sign = order === "descending" ? -1 : 1;
        present.sort((a, b) => sign * compare(keys.get(a), keys.get(b)));
        body.append(...(order ? [...present, ...missing] : original));
      });
    });
  }

  // ---- long tables: a text field filters rows by name, a select element by kind ----

  function filterable(table) {
    const rows = [...table.tBodies[0].rows];
    if (rows.length <= LONG) return;
    const words = (row, selector) => row.cells[0].querySelector(selector)?.textContent.trim() ?? "";
    const kinds = [...new Set(rows.map((row) => words(row, "small")))].filter(Boolean);
    const named = table.caption.textContent.trim();
    const field = make("input", { type: "search", placeholder: "filter rows" });
    field.setAttribute("aria-label", `Filter rows of: ${named}`);
    const choice = make("select", {}, make("option", { value: "", textContent: "all" }));
    choice.setAttribute("aria-label", `Kind of rows of: ${named}`);
    choice.append(...kinds.map((kind) => make("option", { value: kind, textContent: kind })));
    const count = make("output");
    const update = () => {
      const wanted = field.value.trim().toLowerCase();
      const shown = rows.filter((row) => {
        const matches =
          words(row, "span").toLowerCase().includes(wanted) &&
          (!choice.value || words(row, "small") === choice.value);
        row.toggleAttribute("data-unmatched", !matches);
        return matches;
      });
      count.textContent = shown.length < rows.length ? `${shown.length} of ${rows.length}` : "";
    };
    field.addEventListener("input", update);
    choice.addEventListener("input", update);
    const some = kinds.length > 1 && kinds.length <= rows.length / 2;
    const controls = make("div", { className: "controls" }, field, ...(some ? [choice] : []), count);
    table.closest(".scroll").before(controls);
  }

  // ---- experts and ensembles: one button per method hides it in all charts and tables ----

  const hidden = new Set();

  function showMethods() {
    for (const element of all("[data-method]"))
      element.toggleAttribute("data-off", hidden.has(element.dataset.method));
    for (const button of all("button.method"))
      button.setAttribute("aria-pressed", String(!hidden.has(button.value)));
    for (const button of all("button.everything")) button.disabled = !hidden.size;
  }

  function comparable(section) {
    const names = [...new Set(all("[data-method]", section).map((element) => element.dataset.method))];
    if (names.length < 2) return;
    const buttons = names.map((name) => {
      const button = make("button", { type: "button", className: "method", value: name }, name);
      button.addEventListener("click", () => {
        if (!hidden.delete(name)) hidden.add(name);
        showMethods();
      });
      return button;
    });
    const everything = make("button", { type: "button", className: "everything" }, "show all");
    everything.addEventListener("click", () => {
      hidden.clear();
      showMethods();
    });
    const group = make("div", { className: "controls methods" }, "Shown:", ...buttons, everything);
    group.setAttribute("role", "group");
    group.setAttribute("aria-label", "Experts and ensembles to show");
    section.querySelector("h2").after(group);
  }

  // ---- charts: a tooltip with the values nearest to the pointer; arrow keys move it ----

  const tip = make("div", { className: "tip", hidden: true });
  tip.setAttribute("role", "status");

  function pointsOf(svg) {
    const groups = all("[data-points]", svg).filter((group) => !group.closest("[data-off]"));
    return groups.flatMap((group) =>
      JSON.parse(group.dataset.points).map(([x, y, at, value]) => {
        const name = group.dataset.name;
        return { x, y, at, line: name ? `${name}: ${value}` : value };
      }),
    );
  }

  function stopsOf(svg) {
    // Points that share a tooltip: those at the same place along the axis, else single points.
    const along = svg.dataset.along;
    const stops = new Map();
    for (const point of pointsOf(svg)) {
      const key = along ? `${point.at} ${Math.round(point[along])}` : `${point.x} ${point.y} ${point.at}`;
      stops.set(key, [...(stops.get(key) ?? []), point]);
    }
    const first = along || "x";
    return [...stops.values()].sort((a, b) => a[0][first] - b[0][first]);
  }

  function showTip(svg, stop) {
    const lines = stop.slice(0, LINES).map((point) => make("div", { textContent: point.line }));
    if (stop.length > LINES) lines.push(make("div", { textContent: `and ${stop.length - LINES} more` }));
    tip.replaceChildren(make("b", { textContent: stop[0].at }), ...lines);
    tip.hidden = false;
    const top = Math.min(...stop.map((point) => point.y));
    const place = new DOMPoint(stop[0].x, top).matrixTransform(svg.getScreenCTM());
    const { width, height } = tip.getBoundingClientRect();
    const left = place.x + 14 + width > innerWidth ? place.x - 14 - width : place.x + 14;
    tip.style.left = `${scrollX + Math.max(4, left)}px`;
    tip.style.top = `${scrollY + Math.max(4, place.y - height - 8)}px`;
    for (const dot of all(".near", svg)) dot.remove();
    for (const point of stop) {
      const dot = document.createElementNS(svg.namespaceURI, "circle");
      dot.setAttribute("class", "near");
      dot.setAttribute("cx", point.x);
      dot.setAttribute("cy", point.y);
      dot.setAttribute("r", 4);
      svg.append(dot);
    }
  }

  function hideTip() {
    tip.hidden = true;
    for (const dot of all("svg .near")) dot.remove();
  }

  function nearest(svg, stops, event) {
    const place = new DOMPoint(event.clientX, event.clientY);
    const { x, y } = place.matrixTransform(svg.getScreenCTM().inverse());
    const along = svg.dataset.along;
    const distance = (point) =>
      along ? Math.abs(point[along] - { x, y }[along]) : Math.hypot(point.x - x, point.y - y);
    const least = (stop) => Math.min(...stop.map(distance));
    return stops.reduce((best, stop) => (least(stop) < least(best) ? stop : best));
  }

  function readable(svg) {
    let place = 0;
    for (const title of all("title", svg)) title.remove(); // otherwise the browser shows a second tooltip
    svg.setAttribute("tabindex", "0");
    const at = (event) => {
      const stops = stopsOf(svg);
      if (!stops.length) return hideTip();
      const stop = nearest(svg, stops, event);
      place = stops.indexOf(stop);
      showTip(svg, stop);
    };
    svg.addEventListener("pointermove", at);
    svg.addEventListener("pointerdown", at);
    svg.addEventListener("pointerleave", hideTip);
    svg.addEventListener("blur", hideTip);
    svg.addEventListener("keydown", (event) => {
      const stops = stopsOf(svg);
      const moves = { ArrowLeft: -1, ArrowUp: -1, ArrowRight: 1, ArrowDown: 1 };
      if (event.key === "Escape") return hideTip();
      if (!stops.length || !(event.key in moves)) return;
      event.preventDefault();
      if (!tip.hidden) place += moves[event.key];
      place = Math.min(Math.max(place, 0), stops.length - 1);
      showTip(svg, stops[place]);
    });
  }

  // ---- a click on a number shows the command that traces it, and the record of its job ----

  function traceable() {
    const origin = make("aside", { className: "origin", hidden: true });
    origin.setAttribute("role", "status");
    const place = `results/${document.body.dataset.experiment}/evaluation/metrics.json`;
    const record = "../provenance/evaluate/evaluate.json";
    document.body.append(origin);
    document.body.classList.add("traceable");
    document.addEventListener("click", (event) => {
      const number = event.target.closest("[data-key]");
      if (origin.contains(event.target)) return;
      origin.hidden = !number;
      if (!number) return;
      const command = `tailproof lineage "${place}#${number.dataset.key}"`;
      origin.replaceChildren(
        make("code", { textContent: command }),
        make("a", { href: record, textContent: "the record of the job that wrote it" }),
      );
    });
    document.addEventListener("keydown", (event) => {
      if (event.key === "Escape") origin.hidden = true;
    });
  }

  // ---- printing opens all collapsed sections ----

  function unfoldForPrint() {
    let opened = [];
    addEventListener("beforeprint", () => {
      opened = all("details:not([open])");
      for (const details of opened) details.open = true;
    });
    addEventListener("afterprint", () => {
      for (const details of opened) details.open = false;
    });
  }

  function enhance(part) {
    for (const table of all("table:not(.compact, .plain)", part)) {
      sortable(table);
      filterable(table);
    }
    (part.matches("section") ? [part] : all("section", part)).forEach(comparable);
    all("svg", part).filter((svg) => svg.querySelector("[data-points]")).forEach(readable);
    showMethods();
  }

  enhance(document.querySelector("main"));
  document.addEventListener("replaced", (event) => {
    hideTip();
    enhance(event.target);
  });
  document.body.append(tip);
  traceable();
  unfoldForPrint();
})();
