// Keeps an open page current and copies an address. Pages work without it.
"use strict";

// Parts of the page that follow what happens are fetched again and exchanged where they differ: at most every two
// seconds, every fifteen where that takes the server some work, and only while somebody can see them.
const pause = document.querySelector("[data-live=slow]") ? 15000 : 2000;
let refreshing = false;
let last = 0;
let due = null;

const typing = (part) => {
  const active = document.activeElement;
  return active && part.contains(active) && active.matches("input, select, textarea");
};

const state = (text) => {
  let told = document.getElementById("current");
  if (!told) {
    told = Object.assign(document.createElement("p"), { id: "current", className: "stale" });
    told.setAttribute("role", "status");
    document.body.append(told);
  }
  told.textContent = text;
  told.hidden = text === "";
};

// Soon, and not twice.
const refresh = () => {
  if (due === null) due = setTimeout(fetched, Math.max(0, last + pause - Date.now()));
};

const fetched = async () => {
  due = null;
  if (document.hidden) return;
  if (refreshing) return refresh();
  refreshing = true;
  last = Date.now();
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (answer.redirected && new URL(answer.url).pathname === "/sign-in") {
      location.assign("/sign-in");
      return;
    }
    if (!answer.ok || answer.redirected) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const fresh = page.getElementById(part.id);
      if (!fresh || fresh.innerHTML === part.innerHTML || typing(part)) continue;
      // What was opened stays open, what was moved stays where it was, and so does the focus.
      const open = [...part.querySelectorAll("details")].map((one) => one.open);
      const moved = [...part.querySelectorAll(".scroll, .chart")].map((one) => one.scrollLeft);
      const all = "a[href], button, summary, [tabindex]";
      const active = [...part.querySelectorAll(all)].indexOf(document.activeElement);
      part.replaceChildren(...fresh.childNodes);
      part.querySelectorAll("details").forEach((one, place) => { one.open = open[place] ?? one.open; });
      part.querySelectorAll(".scroll, .chart").forEach((one, place) => { one.scrollLeft = moved[place] ?? 0; });
      if (active >= 0) part.querySelectorAll(all)[active]?.focus();
    }
    state("");
  } catch {
    // The server is away; the event source finds it again.
  } finally {
    refreshing = false;
  }
};

if (document.querySelector("[data-live]")) {
  // A browser holds few connections to one server, for all of its tabs: one that nobody looks at has none.
  let source = null;
  const follow = () => {
    if (document.hidden) {
      source?.close();
      source = null;
      return;
    }
    if (source) return;
    source = new EventSource("/live");
    source.addEventListener("message", refresh);
    source.addEventListener("open", () => {
      document.documentElement.dataset.live = "on";
      // What happened since the page was made, or since the last connection.
      refresh();
    });
    source.addEventListener("error", () => {
      delete document.documentElement.dataset.live;
      state(`Not current since ${new Date().toLocaleTimeString()}: the server does not answer.`);
    });
  };
  follow();
  document.addEventListener("visibilitychange", follow);
  addEventListener("pagehide", () => { source?.close(); source = null; });
  addEventListener("pageshow", follow);
  // A plan goes on in memory, where no event tells of it.
  setInterval(() => { if (document.querySelector("[aria-busy=true]")) refresh(); }, 2000);
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  const field = document.getElementById(button.dataset.copy);
  field.select();
  try {
    await navigator.clipboard.writeText(field.value);
    button.textContent = "Copied";
  } catch {
    button.textContent = "Press Ctrl+C";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 2000);
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  // A filter's address names only what was chosen.
  if (form.matches("[data-brief]")) {
    for (const field of form.elements) if (field.name && field.value === "") field.disabled = true;
  }
  // Once is enough.
  if (form.matches("[data-once]")) {
    if (form.dataset.sent) {
      event.preventDefault();
      return;
    }
    form.dataset.sent = "yes";
    form.setAttribute("aria-busy", "true");
  }
});

// What a browser keeps of a page that was left is as it was when it was shown.
addEventListener("pageshow", () => {
  for (const form of document.forms) {
    delete form.dataset.sent;
    form.removeAttribute("aria-busy");
    for (const field of form.elements) if (form.matches("[data-brief]")) field.disabled = false;
  }
});
