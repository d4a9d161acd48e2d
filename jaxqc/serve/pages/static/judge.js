// A person's word on the picture: sent as an event, then the next picture; and the keys of the page.
let sending = false;
const busy = () => sending || document.querySelector("dialog[open]");

async function say(verdict, extra = {}) {
  if (sending) return;
  sending = true;
  $("kept").textContent = "Keeping it…";
  try {
    const word = { sha256: judged.dataset.sha256, verdict, person: $("person").value.trim(), note: $("note").value.trim(), ...extra };
    if (verdict === "reject") {
      word.class_name = $("class").value.trim();
      const drawn = mask.touched ? await maskFile() : "";
      if (mask.touched && !drawn) throw new Error("nothing is marked; mark the defect, or load the page again to leave its mask as it was");
      if (drawn) word.mask_png = drawn;
    }
    const answer = await request("/v1/reviews", { method: "POST", body: JSON.stringify(word), headers: { "Content-Type": "application/json" } });
    if (!answer.ok) throw new Error(await reasonOf(answer));
    remember("person", word.person);
    $("kept").textContent = "Kept.";
    if (verdict === "undone") location.reload(); else location.assign(judged.dataset.next);
  } catch (e) {
    $("kept").textContent = `Not kept: ${e.message}.`;
    sending = false;
  }
}

function startJudging() {
  startMask();
  startAim();
  const frame = $("viewer-frame"), width = +judged.dataset.width, height = +judged.dataset.height;
  frame.style.setProperty("--wide", `${Math.round(width * Math.min(8, Math.max(1, 900 / Math.max(width, height))))}px`);
  frame.style.setProperty("--aspect", (width / height).toFixed(5));
  zoomFor({ width, height });
  $("photo").addEventListener("error", () => { $("mask-said").textContent = "The picture's file is gone or cannot be shown."; });
  if (judged.dataset.drawn) mask.canvas.hidden = false;
  $("person").value = recall("person");
  for (const part of [$("words"), $("marking"), $("undo")]) if (part) part.hidden = false;
  $("words").addEventListener("submit", (event) => event.preventDefault());
  for (const button of document.querySelectorAll("[data-say]")) button.addEventListener("click", () => say(button.dataset.say));
  $("undo")?.addEventListener("click", () => say("undone"));
  for (const button of $("marking").querySelectorAll("[data-tool]")) button.addEventListener("click", () => choose(button.dataset.tool));
  $("mask-undo").addEventListener("click", takeBack);
  $("mask-clear").addEventListener("click", clearMask);
  $("size").addEventListener("input", aimed);
  if (judged.dataset.preload) new Image().src = `/v1/images/${judged.dataset.preload}/view`;

  const press = (key, what) => keys.set(key, (event) => busy() ? false : what(event));
  const click = (selector) => () => { const button = document.querySelector(selector); if (!button) return false; button.click(); };
  press("p", () => say("pass"));
  press("r", () => say("reject"));
  press("a", click("[data-word=accept]"));
  press("o", click("[data-word=overturn]"));
  press("u", click("#undo"));
  for (const [key, tool] of [["d", "brush"], ["e", "eraser"], ["x", "rectangle"]]) press(key, () => choose(tool));
  press("z", takeBack);
  press("c", clearMask);
  for (const [key, by] of [["[", -5], ["]", 5]]) press(key, () => { $("size").value = +$("size").value + by; aimed(); });
  press(" ", (event) => {
    if (!mask.tool || event.target.closest("button, a, input")) return false;
    if (aim.down || aim.corner) lift(); else putDown();
  });
  press("Escape", () => { if (!mask.tool) return false; aim.down = false; aim.corner = null; choose(mask.tool); });
  for (const key of ["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"]) {
    press(key, (event) => {
      if (mask.tool) return arrow(event);
      if (pan(key)) return true;
      if (key === "ArrowRight") return click("#next")();
      return key === "ArrowLeft" ? click("#before")() : false;
    });
  }
}
if (judged) startJudging();
