"use strict";
// Asks for the page again and again, and replaces the sections that changed.
(() => {
  const sections = (page) => [...page.querySelectorAll("main > section")];
  const served = new Map(sections(document).map((section) => [section.id, section.outerHTML]));
  const seconds = Number(document.body.dataset.seconds);
  const note = document.getElementById("as-of");
  let tag = null;
  let time = new Date().toLocaleTimeString();

  function show(page) {
    const main = document.querySelector("main");
    const fresh = sections(page);
    const ids = new Set(fresh.map((section) => section.id));
    for (const section of sections(document)) if (!ids.has(section.id)) section.remove();
    let before = null;
    for (const section of fresh) {
      const html = section.outerHTML;
      const old = document.getElementById(section.id);
      let current = old;
      if (!old || served.get(section.id) !== html) {
        current = document.importNode(section, true);
        for (const details of old?.querySelectorAll("details[id]") ?? []) {
          const same = current.querySelector(`#${CSS.escape(details.id)}`);
          if (same) same.open = details.open;
        }
        if (old) old.replaceWith(current);
        else if (before) before.after(current);
        else main.prepend(current);
        served.set(section.id, html);
        current.dispatchEvent(new Event("replaced", { bubbles: true }));
      }
      before = current;
    }
    document.title = page.title;
  }

  async function ask() {
    const headers = tag ? { "If-None-Match": tag } : {};
    try {
      const answer = await fetch(location.href, { headers, cache: "no-store" });
      if (answer.status === 200) {
        show(new DOMParser().parseFromString(await answer.text(), "text/html"));
        tag = answer.headers.get("ETag");
      } else if (answer.status !== 304) throw new Error(answer.statusText);
      time = new Date().toLocaleTimeString();
      note.textContent = `as of ${time}`;
      note.classList.remove("wrong");
    } catch {
      note.textContent = `tailproof watch no longer answers: this page is as of ${time}`;
      note.classList.add("wrong");
    }
    setTimeout(ask, 1000 * seconds);
  }

  setTimeout(ask, 1000 * seconds);
})();
