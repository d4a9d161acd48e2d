// The mask over the picture: a canvas of the picture's size, painted by brush, eraser and rectangle.
const judged = $("judge");
const viewer = { open: Boolean(judged) }; // the report's zoom asks these two of its viewer
const placeBoxes = () => {};
const ROOM = 16e6; // most pixels of the canvas that is painted; a larger picture is painted at a whole fraction of its size
const COLOR = "rgb(86 180 233)"; // the outlines'
const REMEMBERED = 12; // strokes that can be taken back

const mask = { tool: "", touched: false, past: [], canvas: $("mask"), width: 0, height: 0, pen: null };

function startMask() {
  const [width, height] = [+judged.dataset.width, +judged.dataset.height];
  const part = Math.ceil(Math.sqrt(Math.max(1, width * height / ROOM)));
  Object.assign(mask, { full: [width, height], width: Math.ceil(width / part), height: Math.ceil(height / part) });
  mask.canvas.width = mask.width;
  mask.canvas.height = mask.height;
  mask.pen = mask.canvas.getContext("2d", { willReadFrequently: true });
  mask.pen.lineCap = mask.pen.lineJoin = "round";
  mask.pen.fillStyle = mask.pen.strokeStyle = COLOR;
  if (judged.dataset.drawn) loadMask(`/v1/images/${judged.dataset.sha256}/mask.png`); else drawOutlines(JSON.parse($("data").textContent));
}

// The model's outlines, filled.
function drawOutlines(polygons) {
  const [across, down] = [mask.width / mask.full[0], mask.height / mask.full[1]];
  for (const polygon of polygons) {
    mask.pen.beginPath();
    for (const [x, y] of polygon) mask.pen.lineTo(x * across, y * down);
    mask.pen.fill();
  }
}

// A person's mask: white becomes the mask's colour, all else clear.
async function loadMask(address) {
  const drawn = new Image();
  drawn.src = address;
  try { await drawn.decode(); } catch { return; }
  mask.pen.drawImage(drawn, 0, 0, mask.width, mask.height);
  const pixels = mask.pen.getImageData(0, 0, mask.width, mask.height);
  for (let i = 0; i < pixels.data.length; i += 4) {
    const on = pixels.data[i] > 127;
    pixels.data.set([86, 180, 233, on ? 255 : 0], i);
  }
  mask.pen.putImageData(pixels, 0, 0);
}

function choose(tool) {
  mask.tool = mask.tool === tool ? "" : tool;
  mask.canvas.hidden = !mask.tool && !mask.touched && !judged.dataset.drawn;
  if (mask.tool) mask.canvas.dataset.tool = mask.tool; else delete mask.canvas.dataset.tool;
  for (const button of document.querySelectorAll("[data-tool]")) {
    if (button.tagName === "BUTTON") button.setAttribute("aria-pressed", String(button.dataset.tool === mask.tool));
  }
  aimed();
  if (mask.tool) $("viewer-frame").focus({ preventScroll: true });
}

// What there was goes onto the pile, before a stroke changes it.
function begin() {
  mask.past.push(mask.pen.getImageData(0, 0, mask.width, mask.height));
  while (mask.past.length > REMEMBERED || mask.past.length > 1 && mask.past.length * mask.width * mask.height > 3 * ROOM) mask.past.shift();
  mask.touched = true;
  $("mask-said").textContent = "Corrected: the mask goes with the verdict “reject”.";
}
function takeBack() {
  const before = mask.past.pop();
  if (before) mask.pen.putImageData(before, 0, 0);
}
function clearMask() {
  begin();
  mask.pen.clearRect(0, 0, mask.width, mask.height);
  mask.canvas.hidden = false;
}

const brushSize = () => Math.max(1, Math.round((+$("size").value / 100) ** 2 * Math.max(mask.width, mask.height) / 4));

// A thin brush paints whole pixels: its middle lies on one, or between two where its width is even.
const whole = (value) => brushSize() % 2 ? Math.floor(value) + 0.5 : Math.round(value);

function stroke(from, to) {
  mask.pen.globalCompositeOperation = mask.tool === "eraser" ? "destination-out" : "source-over";
  mask.pen.lineWidth = brushSize();
  mask.pen.beginPath();
  mask.pen.moveTo(...from.map(whole));
  mask.pen.lineTo(...to.map(whole));
  mask.pen.stroke();
  mask.pen.globalCompositeOperation = "source-over";
}
function fillRectangle(a, b) {
  const [x0, y0] = [Math.floor(Math.min(a[0], b[0])), Math.floor(Math.min(a[1], b[1]))];
  mask.pen.fillRect(x0, y0, Math.ceil(Math.max(a[0], b[0])) - x0, Math.ceil(Math.max(a[1], b[1])) - y0);
}

// The mask as a grey-valued PNG of the picture's size in base64; "" where nothing is marked.
async function maskFile() {
  const pixels = mask.pen.getImageData(0, 0, mask.width, mask.height), data = pixels.data;
  let marked = 0;
  for (let i = 0; i < data.length; i += 4) {
    const on = data[i + 3] > 127 ? 255 : 0;
    marked += on;
    data[i] = data[i + 1] = data[i + 2] = on;
    data[i + 3] = 255;
  }
  if (!marked) return "";
  const small = document.createElement("canvas"), whole = document.createElement("canvas");
  [small.width, small.height] = [mask.width, mask.height];
  [whole.width, whole.height] = mask.full;
  small.getContext("2d").putImageData(pixels, 0, 0);
  const pen = whole.getContext("2d");
  pen.imageSmoothingEnabled = false;
  pen.drawImage(small, 0, 0, ...mask.full);
  const blob = await new Promise((done) => whole.toBlob(done, "image/png"));
  if (!blob) throw new Error("this browser cannot make a mask of the picture's size");
  const reader = new FileReader();
  await new Promise((done) => { reader.onload = done; reader.readAsDataURL(blob); });
  return reader.result.split(",")[1];
}
