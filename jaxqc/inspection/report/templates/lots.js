// The table of lots: sorting, filtering, and the galleries below in step with it.
function lotTable() {
  const table = $("lot-table");
  if (!table) return;
  const tbody = table.tBodies[0];
  const RISK = { low: 0, medium: 1, high: 2 };
  const order = new Intl.Collator(undefined, { numeric: true });
  const rows = [...tbody.rows].map((row) => {
    const d = row.dataset;
    const name = row.querySelector(".name bdi").textContent, from = row.querySelector(".from").textContent.trim();
    return {
      row, name, supplier: from, index: d.supplier, grade: d.grade, riskName: d.risk, risk: RISK[d.risk],
      images: +d.images, share: +d.share, quality: +d.quality, verdicts: +d.rejects, since: d.since, accepted: d.accepted,
      text: `${name} ${from} ${d.more}`.toLowerCase(), article: $(`lot-${d.lot}`), number: +d.lot,
    };
  });

  // What a first click sorts by: the worst or the largest first, names from A.
  const FALLING = new Set(["risk", "images", "share", "verdicts", "grade"]);
  let by = "risk", falling = true;
  function compare(a, b) {
    const x = a[by], y = b[by];
    const sign = (typeof x === "number" ? x - y : order.compare(x, y)) * (falling ? -1 : 1);
    return sign || a.number - b.number;
  }
  function sort(key, down) {
    by = key; falling = down;
    rows.sort(compare);
    tbody.append(...rows.map((r) => r.row));
    const home = $("pictures"), loose = $("lot-0");
    for (const r of rows) if (r.article) home.insertBefore(r.article, loose);
    for (const th of table.tHead.rows[0].cells) {
      if (th.dataset.key === key) th.setAttribute("aria-sort", down ? "descending" : "ascending"); else th.removeAttribute("aria-sort");
    }
    if ([...$("sort").options].some((o) => o.value === key)) $("sort").value = key;
  }
  for (const th of table.tHead.rows[0].cells) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...th.childNodes);
    th.append(button);
    button.addEventListener("click", () => sort(th.dataset.key, by === th.dataset.key ? !falling : FALLING.has(th.dataset.key)));
  }
  $("sort").addEventListener("change", (event) => sort(event.target.value, FALLING.has(event.target.value)));

  const chips = [...document.querySelectorAll("#filters .chip")];
  const pressed = (kind) => new Set(chips.filter((c) => kind in c.dataset && c.getAttribute("aria-pressed") === "true").map((c) => c.dataset[kind]));
  function filter() {
    const grades = pressed("grade"), risks = pressed("risk"), supplier = $("by-supplier").value;
    const words = $("find").value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const r of rows) {
      const fits = (!grades.size || grades.has(r.grade)) && (!risks.size || risks.has(r.riskName))
        && (!supplier || supplier === r.index) && words.every((w) => r.text.includes(w));
      r.row.hidden = !fits;
      if (r.article) r.article.hidden = !fits;
      shown += fits;
    }
    const all = shown === rows.length && !words.length && !supplier && !grades.size && !risks.size;
    if ($("lot-0")) $("lot-0").hidden = !all;
    $("count").textContent = all ? `${rows.length} lot${rows.length === 1 ? "" : "s"}` : `${shown} of ${rows.length} lots`;
    $("clear").hidden = all;
  }
  for (const chip of chips) {
    chip.addEventListener("click", () => {
      chip.setAttribute("aria-pressed", String(chip.getAttribute("aria-pressed") !== "true"));
      filter();
    });
  }
  const form = $("filters");
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => {
    for (const chip of chips) chip.setAttribute("aria-pressed", "false");
    setTimeout(filter); // the fields are empty after the event
  });
  $("by-supplier").addEventListener("change", filter);
  $("find").addEventListener("input", filter);
  $("find").addEventListener("keydown", (event) => {
    if (event.key === "Escape") { $("find").value = ""; filter(); }
  });
  keys.set("/", () => {
    if (document.querySelector("dialog[open]")) return false;
    $("find").focus();
  });
  filter();
}
lotTable();
