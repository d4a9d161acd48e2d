// A camera of this computer or phone: one image every few seconds, as long as the button is pressed.
const camera = { film: $("film"), stream: null, timer: 0, busy: false };

async function startCamera() {
  if (!navigator.mediaDevices) throw new Error("a browser gives its camera only to pages of this machine or with HTTPS");
  const wanted = { video: { facingMode: "environment", width: { ideal: 1920 }, height: { ideal: 1080 } }, audio: false };
  camera.stream = await navigator.mediaDevices.getUserMedia(wanted);
  camera.film.srcObject = camera.stream;
  camera.film.hidden = false;
  await camera.film.play();
  $("camera").setAttribute("aria-pressed", "true");
  $("camera").textContent = "Stop the camera";
  const seconds = Math.min(3600, Math.max(1, +$("every").value || 5));
  camera.timer = setInterval(take, 1000 * seconds);
  await take();
}

function stopCamera() {
  clearInterval(camera.timer);
  for (const track of camera.stream?.getTracks() ?? []) track.stop();
  camera.stream = null;
  camera.film.srcObject = null;
  camera.film.hidden = true;
  $("camera").setAttribute("aria-pressed", "false");
  $("camera").textContent = "Start the camera";
}

// One image; where the one before is still being inspected, this one is left out.
async function take() {
  if (camera.busy || !camera.film.videoWidth) return;
  camera.busy = true;
  try {
    const canvas = document.createElement("canvas");
    canvas.width = camera.film.videoWidth;
    canvas.height = camera.film.videoHeight;
    canvas.getContext("2d").drawImage(camera.film, 0, 0);
    const blob = await new Promise((done) => canvas.toBlob(done, "image/jpeg", 0.95));
    $("try-said").textContent = await tryImage(blob, `camera ${new Date().toISOString().slice(0, 19).replaceAll(":", "-")}.jpg`);
  } catch (e) {
    $("try-said").textContent = `Camera: ${e.message}`;
  } finally {
    camera.busy = false;
  }
}

$("camera").addEventListener("click", async () => {
  if (camera.stream) return stopCamera();
  try { await startCamera(); } catch (e) { stopCamera(); $("try-said").textContent = `The camera cannot be used: ${e.message}.`; }
});
addEventListener("pagehide", stopCamera);
