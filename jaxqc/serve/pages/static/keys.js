// Painting by pointer and by keys: the same brush, moved by a hand or by the arrows.
const aim = { x: 0, y: 0, down: false, corner: null, ring: document.createElement("span"), box: document.createElement("span") };
aim.ring.className = "aim";
aim.box.className = "corner";
aim.ring.hidden = aim.box.hidden = true;

function startAim() {
  $("viewer-stack").append(aim.box, aim.ring);
  [aim.x, aim.y] = [mask.width / 2, mask.height / 2];
  const canvas = mask.canvas;
  canvas.addEventListener("pointerdown", (event) => {
    if (!mask.tool || event.button) return;
    event.preventDefault();
    event.stopPropagation(); // the zoomed picture stays where it is
    canvas.setPointerCapture(event.pointerId);
    move(at(event));
    putDown();
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!mask.tool) return;
    for (const one of event.getCoalescedEvents?.() ?? [event]) move(at(one));
  });
  canvas.addEventListener("pointerup", () => { if (aim.down || aim.corner) lift(); });
  canvas.addEventListener("pointercancel", () => { aim.down = false; aim.corner = null; aimed(); });
}
function at(event) {
  const box = mask.canvas.getBoundingClientRect();
  return [(event.clientX - box.left) / box.width * mask.width, (event.clientY - box.top) / box.height * mask.height];
}

function putDown() {
  begin();
  if (mask.tool === "rectangle") aim.corner = [aim.x, aim.y];
  else {
    aim.down = true;
    stroke([aim.x, aim.y], [aim.x, aim.y]);
  }
  aimed();
}
function lift() {
  if (aim.corner) fillRectangle(aim.corner, [aim.x, aim.y]);
  aim.down = false;
  aim.corner = null;
  aimed();
}
function move([x, y]) {
  const from = [aim.x, aim.y];
  aim.x = Math.min(mask.width, Math.max(0, x));
  aim.y = Math.min(mask.height, Math.max(0, y));
  if (aim.down) stroke(from, [aim.x, aim.y]);
  aimed();
}

// Shows where the brush is, and says so.
function aimed() {
  const part = (value, whole) => `${100 * value / whole}%`, square = mask.tool === "rectangle";
  aim.ring.hidden = !mask.tool;
  aim.ring.classList.toggle("down", aim.down);
  Object.assign(aim.ring.style, { left: part(aim.x, mask.width), top: part(aim.y, mask.height),
    width: square ? "9px" : part(brushSize(), mask.width), height: square ? "9px" : part(brushSize(), mask.height) });
  aim.box.hidden = !aim.corner;
  if (aim.corner) {
    const [x, y] = aim.corner;
    Object.assign(aim.box.style, { left: part(Math.min(x, aim.x), mask.width), top: part(Math.min(y, aim.y), mask.height),
      width: part(Math.abs(x - aim.x), mask.width), height: part(Math.abs(y - aim.y), mask.height) });
  }
  const state = aim.corner ? "second corner" : aim.down ? "down" : "";
  $("place").textContent = mask.tool ? `x ${Math.round(aim.x)}, y ${Math.round(aim.y)}${state ? `, ${state}` : ""}` : "";
}

function arrow(event) {
  const [across, down] = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  const step = Math.max(1, Math.round(Math.max(mask.width, mask.height) / 100)) * (event.shiftKey ? 8 : 1);
  move([aim.x + across * step, aim.y + down * step]);
}
