// The table of lots: sorting, filtering, and the galleries below in step with it.
function lotTable() {
  const table = $("lot-table");
  if (!table) return;
  const tbody = table.tBodies[0];
  const RISK = { low: 0, medium: 1, high: 2 }, ACTION = { accept: 1, review: 2, refuse: 3 };
  const order = new Intl.Collator(undefined, { numeric: true });
  const rows = [...tbody.rows].map((row) => {
    const d = row.dataset;
    const name = row.querySelector(".name bdi").textContent, from = row.querySelector(".from").textContent.trim();
    return {
      row, name, supplier: from, index: d.supplier, grade: d.grade, riskName: d.risk, risk: RISK[d.risk],
      pieces: +d.pieces, share: +d.share, corrected: +d.corrected, rejected: +d.rejected, action: ACTION[d.action] ?? 0,
      since: d.since, accepted: d.accepted,
      text: `${name} ${from} ${d.more}`.toLowerCase(), article: $(`lot-${d.lot}`), number: +d.lot,
    };
  });

  // What a first click sorts by: the worst or the largest first, names from A.
  const FALLING = new Set(["risk", "pieces", "share", "corrected", "rejected", "action", "grade"]);
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
      if (th.dataset.key && th.dataset.key === key) th.setAttribute("aria-sort", down ? "descending" : "ascending"); else th.removeAttribute("aria-sort");
    }
    filter();
    if ([...$("sort").options].some((o) => o.value === key)) $("sort").value = key;
  }
  for (const th of table.tHead.rows[0].cells) {
    if (!th.dataset.key) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...th.childNodes);
    th.append(button);
    button.addEventListener("click", () => sort(th.dataset.key, by === th.dataset.key ? !falling : FALLING.has(th.dataset.key)));
  }
  $("sort").addEventListener("change", (event) => sort(event.target.value, FALLING.has(event.target.value)));

  const chips = [...document.querySelectorAll("#filters .chip")];
  const pressed = (kind) => new Set(chips.filter((c) => kind in c.dataset && c.getAttribute("aria-pressed") === "true").map((c) => c.dataset[kind]));
  const PAGE = 50; // lots that are shown at first: with thousands, nobody scrolls past them all
  let limit = PAGE;
  function filter() {
    const grades = pressed("grade"), risks = pressed("risk"), supplier = $("by-supplier").value;
    const words = $("find").value.toLowerCase().split(/\s+/).filter(Boolean);
    let found = 0;
    for (const r of rows) {
      const fits = (!grades.size || grades.has(r.grade)) && (!risks.size || risks.has(r.riskName))
        && (!supplier || supplier === r.index) && words.every((w) => r.text.includes(w));
      found += fits;
      r.row.hidden = !fits || found > limit;
      if (r.article) r.article.hidden = r.row.hidden;
    }
    const all = found === rows.length && !words.length && !supplier && !grades.size && !risks.size;
    if ($("lot-0")) $("lot-0").hidden = !all;
    const shown = Math.min(found, limit), total = `${rows.length} lot${rows.length === 1 ? "" : "s"}`;
    $("count").textContent = (all ? total : `${found} of ${total}`) + (shown < found ? `, ${shown} shown` : "");
    $("clear").hidden = all;
    $("more").hidden = shown === found;
    $("more-some").textContent = `Show ${Math.min(PAGE, found - shown)} more`;
    $("more-all").textContent = `Show all ${found}`;
  }
  $("more-some").addEventListener("click", () => { limit += PAGE; filter(); });
  $("more-all").addEventListener("click", () => { limit = Infinity; filter(); });
  const fresh = () => { limit = PAGE; filter(); };

  // A link to a lot that is not shown brings it back.
  function reveal() {
    const target = rows.find((r) => r.article && `#${r.article.id}` === location.hash);
    if (!target?.article.hidden) return;
    limit = Infinity;
    filter();
    if (target.article.hidden) clear();
    target.article.scrollIntoView();
    target.article.focus({ preventScroll: true });
  }
  addEventListener("hashchange", reveal);
  for (const chip of chips) {
    chip.addEventListener("click", () => {
      chip.setAttribute("aria-pressed", String(chip.getAttribute("aria-pressed") !== "true"));
      fresh();
    });
  }
  const form = $("filters");
  form.addEventListener("submit", (event) => event.preventDefault());
  function clear() {
    for (const chip of chips) chip.setAttribute("aria-pressed", "false");
    $("find").value = "";
    $("by-supplier").value = "";
    filter();
  }
  form.addEventListener("reset", (event) => { event.preventDefault(); limit = PAGE; clear(); });
  $("by-supplier").addEventListener("change", fresh);
  $("find").addEventListener("input", fresh);
  $("find").addEventListener("keydown", (event) => {
    if (event.key === "Escape") { $("find").value = ""; fresh(); }
  });
  keys.set("/", () => {
    if (document.querySelector("dialog[open]")) return false;
    $("find").focus();
  });
  filter();
  reveal();
}
lotTable();
