// Before anything is drawn: the choice between light and dark that this browser has made.
(() => {
  try {
    const chosen = localStorage.getItem("jobd.theme");
    if (chosen) document.documentElement.dataset.theme = chosen;
  } catch { /* storage is off: the system's choice it is */ }
})();
