// Keeps an open page current, copies an address, sends a form when a choice is made. Pages work without it.
"use strict";

// Parts of the page that follow what happens are fetched again and exchanged where they differ.
let refreshing = false;
let again = false;

const typing = (part) => {
  const active = document.activeElement;
  return active && part.contains(active) && active.matches("input, select, textarea");
};

const refresh = async () => {
  if (refreshing) {
    again = true;
    return;
  }
  refreshing = true;
  try {
    const answer = await fetch(location.href, { headers: { accept: "text/html" } });
    if (!answer.ok || answer.redirected) return;
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const part of document.querySelectorAll("[data-live]")) {
      const fresh = page.getElementById(part.id);
      if (!fresh || fresh.innerHTML === part.innerHTML || typing(part)) continue;
      // What was opened stays open, and the focus stays where it was.
      const open = [...part.querySelectorAll("details")].map((one) => one.open);
      const active = part.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
      part.replaceChildren(...fresh.childNodes);
      part.querySelectorAll("details").forEach((one, place) => { one.open = open[place] ?? one.open; });
      if (active) part.querySelector(`a[href="${CSS.escape(active)}"]`)?.focus();
    }
  } catch {
    // The server is away; the event source finds it again.
  } finally {
    refreshing = false;
    if (again) {
      again = false;
      setTimeout(refresh, 250);
    }
  }
};

if (document.querySelector("[data-live]")) {
  const source = new EventSource("/live");
  source.addEventListener("message", refresh);
  source.addEventListener("open", () => {
    document.documentElement.dataset.live = "on";
    // What happened since the page was made, or since the last connection.
    refresh();
  });
  addEventListener("pagehide", () => source.close());
  // A plan goes on in memory, where no event tells of it.
  setInterval(() => { if (document.querySelector("[aria-busy=true]")) refresh(); }, 500);
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

document.addEventListener("change", (event) => {
  const form = event.target.closest("form[data-auto]");
  if (form) form.requestSubmit();
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  // A filter's address names only what was chosen.
  if (form.matches("[data-auto]")) {
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
    for (const field of form.elements) if (form.matches("[data-auto]")) field.disabled = false;
  }
});
