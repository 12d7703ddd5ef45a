// Makes the panel quicker; every page works without it.

// The server shows times and days in this zone from the next page on.
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
if (zone) {
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `standart_zone=${zone}; Path=/; Max-Age=31536000; SameSite=Lax${secure}`;
}

// A second click must not send a form again while the first one is on its way.
document.addEventListener("submit", (event) => {
  if (event.target.dataset.sent) {
    event.preventDefault();
    return;
  }
  if (event.target.method === "post") event.target.dataset.sent = "yes";
});
// The page may come back from the browser's history as it was left.
window.addEventListener("pageshow", () => {
  for (const form of document.forms) delete form.dataset.sent;
});

if (navigator.clipboard) {
  for (const button of document.querySelectorAll("button[data-copy]")) {
    button.hidden = false;
    const label = button.textContent;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(button.dataset.copy);
      button.textContent = button.dataset.done;
      setTimeout(() => { button.textContent = label; }, 1500);
    });
  }
}

const choice = document.querySelector("select[data-live]");
if (choice) keepLive(choice);

function keepLive(select) {
  const KEY = "standart_refresh";
  const live = document.getElementById("live");
  const updated = document.getElementById("updated");
  const trouble = document.getElementById("trouble");
  let timer = 0;
  let busy = false;
  let tag = "";

  const inUrl = new URLSearchParams(location.search).get("refresh");
  const wanted = inUrl ?? localStorage.getItem(KEY);
  if ([...select.options].some((option) => option.value === wanted)) select.value = wanted;

  function plan() {
    clearInterval(timer);
    const seconds = Number(select.value);
    if (seconds > 0) timer = setInterval(refresh, seconds * 1000);
  }

  // Reading on must not be torn away: neither the focus nor a selection inside.
  function inUse() {
    const selection = document.getSelection();
    const selecting = selection && !selection.isCollapsed && live.contains(selection.anchorNode);
    return selecting || live.contains(document.activeElement);
  }

  async function refresh() {
    if (busy || document.hidden || inUse()) return;
    busy = true;
    try {
      const answer = await fetch(select.dataset.live, {
        headers: tag ? { "If-None-Match": tag } : {},
        cache: "no-store",
        redirect: "manual",
        signal: AbortSignal.timeout(9000),
      });
      // The login has ended: the whole page leads to the form.
      if (answer.type === "opaqueredirect") return location.reload();
      if (answer.status !== 304) {
        if (!answer.ok) throw new Error(String(answer.status));
        tag = answer.headers.get("ETag") ?? "";
        live.innerHTML = await answer.text();
      }
      updated.textContent = new Date().toLocaleTimeString("en-GB");
      trouble.hidden = true;
    } catch {
      trouble.hidden = false;
    } finally {
      busy = false;
    }
  }

  select.addEventListener("change", () => {
    localStorage.setItem(KEY, select.value);
    const url = new URL(location.href);
    url.searchParams.set("refresh", select.value);
    history.replaceState(null, "", url);
    plan();
  });
  document.addEventListener("visibilitychange", () => {
    if (!document.hidden && Number(select.value) > 0) refresh();
  });
  plan();
}
