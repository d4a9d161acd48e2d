// What several pages need: asking the server, messages in words, and a memory that may be missing.
const remember = (name, value) => { try { remembered?.setItem(`jaxqc-${name}`, value); } catch { /* full or forbidden */ } };
const recall = (name) => { try { return remembered?.getItem(`jaxqc-${name}`) ?? ""; } catch { return ""; } };

// An answer of the server. Where the session has ended, the browser goes to sign in.
async function request(address, options = {}) {
  const answer = await fetch(address, { credentials: "same-origin", ...options });
  if (answer.redirected && new URL(answer.url).pathname === "/sign-in") { location.reload(); throw new Error("the session has ended"); }
  if (answer.status === 401) { location.assign(`/sign-in?next=${encodeURIComponent(location.pathname + location.search)}`); }
  return answer;
}

// The reason of a refusal, in the server's words.
async function reasonOf(answer) {
  try { return (await answer.json()).error ?? answer.statusText; } catch { return `${answer.status} ${answer.statusText}`; }
}

// A part of a page in the server's own words.
async function part(address) {
  const answer = await request(address, { headers: { Accept: "text/html" } });
  if (!answer.ok) throw new Error(`${answer.status}`);
  const made = document.createElement("template");
  made.innerHTML = await answer.text();
  return made.content;
}

// A page of a server that was still starting comes anew once it is ready.
if ($("starting")) {
  setInterval(async () => {
    try { if ((await part("/live/now")).querySelector("[data-ready='1']")) location.reload(); } catch { /* not yet */ }
  }, 2000);
}

document.addEventListener("DOMContentLoaded", () => { body.dataset.ready = ""; });
