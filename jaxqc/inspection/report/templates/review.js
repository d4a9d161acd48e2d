// The list of what waits for review: sorted, filtered and drawn a page at a time; verdicts by click or key; the table
// as a file. A row of the data: sha256, image, lot, piece, score, severity, defects, picture, thumbnail.
function reviewList() {
  const table = $("review-table");
  if (!table) return false;
  const data = JSON.parse($("review-data").textContent), lots = data.lots, PAGE = 50;
  const COLUMNS = { sha256: 0, image: 1, lot: 2, piece: 3, score: 4, severity: 5, count: 6, picture: 7, thumbnail: 8 };
  const all = data.rows, tbody = table.tBodies[0], pieces = all.some((row) => row[COLUMNS.piece]);
  const order = new Intl.Collator(undefined, { numeric: true });
  const said = new Map(); // sha256 → { verdict, time }
  let by = "severity", falling = true, found = all, page = 0, saved = true, here = 0;

  // Texts are compared once; sorting then compares numbers.
  const ranks = {};
  function rank(key) {
    if (ranks[key]) return ranks[key];
    const text = key === "lot" ? (i) => lots[all[i][COLUMNS.lot]] : (i) => all[i][COLUMNS[key]];
    const sorted = [...all.keys()].sort((a, b) => order.compare(text(a), text(b)));
    const places = new Map();
    let place = -1;
    sorted.forEach((i, k) => {
      if (!k || order.compare(text(i), text(sorted[k - 1]))) place += 1;
      places.set(all[i], place);
    });
    return (ranks[key] = places);
  }
  const value = (key) => {
    if (key !== "lot" && key !== "image") return (row) => row[COLUMNS[key]];
    const places = rank(key);
    return (row) => places.get(row);
  };

  function choose() {
    const lot = $("review-lot").value, state = $("review-state").value, of = value(by), sign = falling ? -1 : 1;
    found = all.filter((row) => (!lot || row[COLUMNS.lot] === +lot) && (!state || said.has(row[COLUMNS.sha256]) === (state === "said")));
    found.sort((a, b) => sign * (of(a) - of(b)) || b[COLUMNS.severity] - a[COLUMNS.severity]);
    for (const th of table.tHead.rows[0].cells) {
      if (th.dataset.key === by) th.setAttribute("aria-sort", falling ? "descending" : "ascending"); else th.removeAttribute("aria-sort");
    }
    $("review-sort").value = by;
    turn(0);
  }
  function sort(key, down) { by = key; falling = down; choose(); }

  const last = () => Math.max(0, Math.ceil(found.length / PAGE) - 1);
  function turn(to) {
    page = Math.min(Math.max(0, to), last());
    here = 0;
    tbody.replaceChildren(...found.slice(page * PAGE, (page + 1) * PAGE).map(draw));
    settle(0);
    const from = page * PAGE;
    $("review-place").textContent = found.length ? `${from + 1} to ${from + tbody.rows.length} of ${found.length}` : "none";
    for (const button of document.querySelectorAll("[data-page]")) {
      const off = ["first", "before"].includes(button.dataset.page) ? page === 0 : page === last();
      button.setAttribute("aria-disabled", String(off)); // a button that is disabled would lose the focus
    }
    count();
  }
  function count() {
    const verdicts = [...said.values()].map((one) => one.verdict), passed = verdicts.filter((v) => v === "pass").length;
    const marked = verdicts.length ? `; ${passed} marked pass, ${verdicts.length - passed} reject` : "";
    $("review-count").textContent = `${found.length === all.length ? "" : `${found.length} of `}${all.length} row${all.length === 1 ? "" : "s"}${marked}`;
  }

  function picture(row) {
    const shot = row[COLUMNS.picture] === null ? null : document.querySelector(`.shot[data-picture="${row[COLUMNS.picture]}"]`);
    const holder = element(shot ? "button" : "span", undefined, "thumb");
    const source = shot ? shot.querySelector("img").src : row[COLUMNS.thumbnail] === null ? "" : `data:image/jpeg;base64,${data.thumbnails[row[COLUMNS.thumbnail]]}`;
    if (shot) {
      holder.type = "button";
      holder.setAttribute("aria-haspopup", "dialog");
      holder.addEventListener("click", () => show(shot, holder));
    }
    if (!source) { holder.append(element("span", "no picture here", "none")); return holder; }
    const img = element("img");
    img.src = source;
    img.alt = shot ? `Open ${row[COLUMNS.image]}` : "";
    holder.append(img);
    return holder;
  }

  function draw(row) {
    const tr = element("tr"), cells = [];
    tr.setAttribute("role", "row");
    const cell = (label, className, ...content) => {
      const td = element("td", undefined, className);
      td.setAttribute("role", "cell");
      if (label) td.dataset.label = label;
      td.append(...content);
      cells.push(td);
    };
    cell("", "", picture(row));
    cell("Lot", "from", element("bdi", lots[row[COLUMNS.lot]] || "no lot"));
    if (pieces) cell("Piece", "from", element("bdi", row[COLUMNS.piece]));
    cell("Image", "from", element("bdi", row[COLUMNS.image]));
    cell("Score", "n", String(row[COLUMNS.score]));
    cell("Severity", "n", row[COLUMNS.severity].toFixed(2));
    cell("Defects", "n", String(row[COLUMNS.count]));
    const buttons = ["pass", "reject"].map((verdict) => {
      const button = element("button", verdict === "pass" ? "✓ pass" : "✕ reject");
      button.type = "button";
      button.dataset.say = verdict;
      button.addEventListener("click", () => say(row, said.get(row[COLUMNS.sha256])?.verdict === verdict ? "" : verdict));
      return button;
    });
    cell("", "verdicts", ...buttons);
    tr.append(...cells);
    tr.addEventListener("focusin", () => settle([...tbody.rows].indexOf(tr)));
    mark(tr, row);
    return tr;
  }
  function mark(tr, row) {
    const verdict = said.get(row[COLUMNS.sha256])?.verdict;
    for (const button of tr.querySelectorAll("[data-say]")) button.setAttribute("aria-pressed", String(button.dataset.say === verdict));
  }
  function say(row, verdict) {
    const sha256 = row[COLUMNS.sha256];
    if (verdict) said.set(sha256, { verdict, time: `${new Date().toISOString().slice(0, 19)}+00:00` }); else said.delete(sha256);
    saved = !said.size;
    found.slice(page * PAGE, (page + 1) * PAGE).forEach((other, i) => { if (other[COLUMNS.sha256] === sha256) mark(tbody.rows[i], other); });
    count();
  }

  // One row at a time is in the order of the Tab key: fifty with three buttons each would be in everybody's way.
  function settle(at) {
    here = at;
    [...tbody.rows].forEach((tr, i) => {
      tr.tabIndex = i === at ? 0 : -1;
      for (const button of tr.querySelectorAll("button")) button.tabIndex = i === at ? 0 : -1;
    });
  }
  function move(by) {
    let to = here + by;
    if (to < 0 && page > 0) { turn(page - 1); to = tbody.rows.length - 1; }
    else if (to >= tbody.rows.length && page < last()) { turn(page + 1); to = 0; }
    const tr = tbody.rows[Math.min(Math.max(0, to), tbody.rows.length - 1)];
    tr?.focus({ preventScroll: true });
    tr?.scrollIntoView({ block: "nearest" });
  }
  function key(name) {
    if (document.querySelector("dialog[open]") || !tbody.contains(document.activeElement)) return false;
    const verdict = { p: "pass", r: "reject", u: "" }[name];
    if (verdict !== undefined) { say(found[page * PAGE + here], verdict); if (verdict) move(1); return true; }
    move({ ArrowDown: 1, ArrowUp: -1, Home: -here, End: tbody.rows.length - 1 - here }[name] ?? 0);
    return true;
  }

  const FIELDS = ["sha256", "image", "lot", "piece", "verdict", "class", "person", "note", "time"];
  const quoted = (text) => (/[",\r\n]|^\s|\s$/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
  function csv() {
    const person = $("review-person").value.trim(), seen = new Set(), lines = [FIELDS.join(",")];
    for (const row of found) {
      const sha256 = row[COLUMNS.sha256], one = said.get(sha256);
      if (seen.has(sha256)) continue; // a picture in several lots has one verdict
      seen.add(sha256);
      const own = [sha256, row[COLUMNS.image], lots[row[COLUMNS.lot]], row[COLUMNS.piece], one?.verdict ?? "", "", one ? person : "", "", one?.time ?? ""];
      lines.push(own.map(quoted).join(","));
    }
    return { text: `${lines.join("\r\n")}\r\n`, pictures: seen.size };
  }
  const done = (text) => { $("review-done").textContent = text; };
  const words = (n) => `${n} picture${n === 1 ? "" : "s"}, ${said.size} marked`;
  $("review-download").addEventListener("click", () => {
    const { text, pictures } = csv(), link = element("a");
    link.href = URL.createObjectURL(new Blob([text], { type: "text/csv;charset=utf-8" }));
    link.download = "review.csv";
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    saved = true;
    done(`review.csv: ${words(pictures)}. Next: jaxqc review --in review.csv`);
  });
  $("review-copy").addEventListener("click", async () => {
    const { text, pictures } = csv();
    try {
      await navigator.clipboard.writeText(text);
      saved = true;
      done(`Copied: ${words(pictures)}.`);
    } catch { done("This browser does not let a page copy; download the file instead."); }
  });
  addEventListener("beforeunload", (event) => { if (!saved) event.preventDefault(); });

  for (const th of table.tHead.rows[0].cells) {
    if (!th.dataset.key) { th.hidden = th.textContent === "Piece" && !pieces; continue; }
    const button = element("button");
    button.type = "button";
    button.append(...th.childNodes);
    th.append(button);
    const first = th.dataset.key !== "lot" && th.dataset.key !== "image";
    button.addEventListener("click", () => sort(th.dataset.key, by === th.dataset.key ? !falling : first));
  }
  const counts = new Map();
  for (const row of all) counts.set(row[COLUMNS.lot], (counts.get(row[COLUMNS.lot]) ?? 0) + 1);
  for (const i of [...lots.keys()].sort((a, b) => order.compare(lots[a], lots[b]))) {
    const option = element("option", `${lots[i] || "no lot"} (${counts.get(i)})`);
    option.value = i;
    $("review-lot").append(option);
  }
  for (const id of ["review-lot", "review-state"]) $(id).addEventListener("change", choose);
  $("review-sort").addEventListener("change", (event) => sort(event.target.value, !["lot", "image"].includes(event.target.value)));
  $("review-filters").addEventListener("submit", (event) => event.preventDefault());
  const pages = { first: () => 0, before: () => page - 1, next: () => page + 1, last };
  for (const button of document.querySelectorAll("[data-page]")) {
    button.addEventListener("click", () => { if (button.getAttribute("aria-disabled") !== "true") turn(pages[button.dataset.page]()); });
  }
  for (const part of document.querySelectorAll("[data-unprogrammed]")) part.hidden = true;
  $("review-page").hidden = $("review-filters").hidden = false;
  for (const name of ["p", "r", "u"]) keys.set(name, () => key(name));
  choose();
  return key;
}
const inReviewList = reviewList() || (() => false);
body.dataset.ready = "";
