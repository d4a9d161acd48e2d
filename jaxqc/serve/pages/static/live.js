// The live page: renews what changes when news come, rings for a lot whose risk turns high, and tries images.
const SHORTEST = 1000; // milliseconds between two renewals
const risks = new Map([...document.querySelectorAll("[data-lot]")].map((lot) => [lot.dataset.lot, lot.dataset.risk]));

// Brings a list to that of a new part; what stays the same keeps its elements, and so its focus and its pictures.
function renewList(old, fresh) {
  const there = new Map([...old.children].map((one) => [one.dataset.key, one]));
  const wanted = [...fresh.children].map((one) => {
    const same = there.get(one.dataset.key);
    return same && same.isEqualNode(one) ? same : one;
  });
  const focused = document.activeElement?.closest?.("[data-key]")?.dataset.key;
  const kept = new Set(wanted);
  for (const one of [...old.children]) if (!kept.has(one)) one.remove();
  wanted.forEach((one, i) => { if (old.children[i] !== one) old.insertBefore(one, old.children[i] ?? null); });
  if (focused && document.activeElement === body) {
    [...old.children].find((one) => one.dataset.key === focused)?.querySelector("a")?.focus({ preventScroll: true });
  }
}

async function renew() {
  const fresh = await part("/live/now");
  const now = $("now");
  for (const id of ["lots", "last"]) renewList($(id), fresh.getElementById(id));
  for (const empty of now.querySelectorAll(".empty")) {
    if (!fresh.querySelector(`[aria-labelledby="${empty.parentElement.getAttribute("aria-labelledby")}"] .empty`)) empty.remove();
  }
  for (const lot of now.querySelectorAll("[data-lot]")) if (!risks.has(lot.dataset.lot)) risks.set(lot.dataset.lot, lot.dataset.risk);
}

let due = 0, last = 0;
function soon() {
  if (due) return;
  due = setTimeout(async () => {
    try { await renew(); } catch { state("The server does not answer; trying again."); }
    last = Date.now();
    due = 0;
  }, Math.max(0, last + SHORTEST - Date.now()));
}

const state = (text) => { if ($("line").textContent !== text) $("line").textContent = text; };

let audio = null;
function sound() {
  audio ??= new AudioContext();
  const start = audio.currentTime;
  for (const [at, pitch] of [[0, 880], [0.22, 660], [0.44, 880]]) {
    const tone = audio.createOscillator(), loud = audio.createGain();
    tone.frequency.value = pitch;
    loud.gain.setValueAtTime(0.25, start + at);
    loud.gain.exponentialRampToValueAtTime(0.001, start + at + 0.2);
    tone.connect(loud).connect(audio.destination);
    tone.start(start + at);
    tone.stop(start + at + 0.2);
  }
}

function ring(lot) {
  const bell = document.createElement("p"), what = document.createElement("strong"), link = document.createElement("a");
  const name = document.createElement("bdi"), from = document.createElement("bdi"), away = document.createElement("button");
  what.textContent = "Risk turned high:";
  name.textContent = lot.lot;
  from.textContent = lot.supplier ? ` of ${lot.supplier}` : "";
  link.href = `/lots?lot=${encodeURIComponent(lot.lot)}`;
  link.append(name);
  away.type = "button";
  away.textContent = "Seen";
  away.addEventListener("click", () => bell.remove());
  const text = document.createElement("span");
  text.append(link, from, `, grade ${lot.grade}`);
  bell.append(what, " ", text, away);
  bell.className = "bell";
  for (const old of [...$("bells").children].slice(9)) old.remove();
  $("bells").prepend(bell);
  if ($("sound").checked) sound();
}

const source = new EventSource("/v1/events");
source.addEventListener("open", () => { state("Connected: the page follows what comes in."); soon(); });
source.addEventListener("error", () => state(source.readyState === EventSource.CLOSED ? "The connection is closed; load the page again." : "The connection is lost; trying again."));
for (const kind of ["image", "review"]) source.addEventListener(kind, soon);
source.addEventListener("lot", (event) => {
  const lot = JSON.parse(event.data);
  if (lot.risk === "high" && risks.get(lot.lot) !== "high") ring(lot);
  risks.set(lot.lot, lot.risk);
  soon();
});
addEventListener("pagehide", () => source.close());
setInterval(() => { if (!document.hidden) soon(); }, 15_000); // what another server of the same ledger took in

$("sound").checked = recall("sound") === "on";
$("sound").addEventListener("change", () => {
  remember("sound", $("sound").checked ? "on" : "off");
  if ($("sound").checked) sound(); // a browser lets only a person's own click begin with sound
});
keys.set("s", () => $("sound").click());
keys.set("Escape", () => { if (document.querySelector("dialog[open]")) return false; $("bells").replaceChildren(); });

// Trying: an image goes the way of every image, and comes back as the server shows it.
async function tryImage(blob, name) {
  const said = { image: name.slice(-200), lot: $("try-lot").value, supplier: $("try-supplier").value, model: $("try-model")?.value ?? "" };
  const query = new URLSearchParams(Object.entries(said).filter(([, value]) => value));
  const kind = blob.type.startsWith("image/") ? blob.type : "application/octet-stream";
  const answer = await request(`/v1/inspect?${query}`, { method: "POST", body: blob, headers: { "Content-Type": kind } });
  if (!answer.ok) throw new Error(await reasonOf(answer));
  const found = await answer.json();
  const shown = await part(`/live/shot/${found.finding.sha256}?model=${found.model}`);
  const item = shown.firstElementChild;
  for (const old of [...$("tried").children]) if (old.dataset.key === item.dataset.key) old.remove();
  $("tried").prepend(item);
  for (const old of [...$("tried").children].slice(24)) old.remove();
  return `${name}: ${found.finding.verdict}${found.known ? ", known already" : ""}, ${Math.round(found.timings_ms.total)} ms`;
}
async function tryAll(files) {
  for (const [i, file] of [...files].entries()) {
    $("try-said").textContent = `Inspecting ${i + 1} of ${files.length}: ${file.name}`;
    try { $("try-said").textContent = await tryImage(file, file.name); } catch (e) { $("try-said").textContent = `${file.name}: ${e.message}`; }
  }
}
$("try").hidden = false;
$("try").addEventListener("submit", (event) => event.preventDefault());
$("files").addEventListener("change", async () => { await tryAll($("files").files); $("files").value = ""; });
for (const name of ["dragenter", "dragover"]) $("drop").addEventListener(name, (event) => { event.preventDefault(); $("drop").classList.add("over"); });
for (const name of ["dragleave", "drop"]) $("drop").addEventListener(name, () => $("drop").classList.remove("over"));
$("drop").addEventListener("drop", (event) => { event.preventDefault(); tryAll(event.dataTransfer.files); });
