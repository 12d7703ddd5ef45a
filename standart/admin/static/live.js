// A region that renews itself: <select data-live="address" data-target="id"> says how often.
import { tellAges, tellTime } from "./page.js";
import { renew } from "./renew.js";

export function keepLive(select) {
  const live = document.getElementById(select.dataset.target ?? "live");
  const updated = document.getElementById("updated");
  const trouble = document.getElementById("trouble");
  const ended = document.getElementById("ended");
  let timer = 0;
  let busy = false;
  let tag = "";

  function plan() {
    clearInterval(timer);
    const seconds = Number(select.value);
    if (seconds > 0) timer = setInterval(refresh, seconds * 1000);
  }

  async function refresh() {
    if (busy || document.hidden) return;
    busy = true;
    try {
      const answer = await fetch(select.dataset.live, {
        headers: tag ? { "If-None-Match": tag } : {},
        cache: "no-store",
        redirect: "manual",
        signal: AbortSignal.timeout(9000),
      });
      // Who is not logged in any more is sent to the form.
      if (answer.type === "opaqueredirect" || answer.status === 401) return stop();
      if (answer.status !== 304) {
        if (!answer.ok) throw new Error(String(answer.status));
        renew(live, await answer.text());
        tag = answer.headers.get("ETag") ?? "";
        tellAges(live);
        live.dispatchEvent(new CustomEvent("renewed", { bubbles: true }));
      }
      document.dispatchEvent(new CustomEvent("looked"));
      updated.textContent = tellTime(new Date(), "en-GB", { timeStyle: "medium" });
      trouble.hidden = true;
    } catch {
      trouble.hidden = false;
    } finally {
      busy = false;
    }
  }

  // Asking on would only be refused again.
  function stop() {
    clearInterval(timer);
    select.value = "0";
    trouble.hidden = true;
    if (ended) ended.hidden = false;
  }

  select.addEventListener("change", () => {
    const body = new URLSearchParams(new FormData(select.form));
    fetch(select.form.action, { method: "POST", body, redirect: "manual", keepalive: true }).catch(() => {});
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
