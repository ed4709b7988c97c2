"use strict";
// Opens when its <details> does: until then nothing of what the page carries is decoded or run.
(function () {
  const byId = (id) => document.getElementById(id);
  const box = byId("synth-viewer");
  const canvas = byId("sv-canvas");
  const index = JSON.parse(byId("synth-viewer-index").textContent);
  const state = { nv: null, busy: Promise.resolve(), number: null, shown: null };

  const say = (text) => { byId("sv-status").textContent = text; };

  // the reason a reader is told; anything else that goes wrong is told as it is
  class Unable extends Error {}

  function bytes(id) {
    const binary = atob(byId(id).textContent);
    const out = new Uint8Array(binary.length);
    for (let i = 0; i < binary.length; i++) out[i] = binary.charCodeAt(i);
    return out;
  }

  async function loadCode() {
    if (window.niivue) return;
    const stream = new Blob([bytes("synth-viewer-code")]).stream().pipeThrough(new DecompressionStream("gzip"));
    const url = URL.createObjectURL(new Blob([await new Response(stream).blob()], { type: "text/javascript" }));
    try {
      await new Promise((resolve, reject) => {
        const script = document.createElement("script");
        script.src = url;
        script.onload = resolve;
        script.onerror = () => reject(new Unable("its embedded code was not allowed to start"));
        document.head.append(script);
      });
    } finally {
      URL.revokeObjectURL(url);
    }
  }

  async function start() {
    if (typeof DecompressionStream === "undefined") throw new Unable("this browser is too old, one of 2023 or later will do");
    const probe = document.createElement("canvas").getContext("webgl2");
    if (!probe) throw new Unable("this browser has no WebGL 2, which draws the slices; turn on hardware acceleration or use another browser");
    probe.getExtension("WEBGL_lose_context")?.loseContext();
    await loadCode();
    const nv = new window.niivue.Niivue({
      backColor: [0, 0, 0, 1],
      crosshairColor: [0.35, 0.85, 1, 0.75],
      crosshairWidth: canvas.clientWidth < 700 ? 1.8 : 0.8, // thinner than a pixel it would come and go
      crosshairWidthUnit: "mm",
      crosshairGap: 8,
      fontColor: [1, 0.85, 0.4, 1],
      isRadiologicalConvention: true,
      sagittalNoseLeft: true,
      show3Dcrosshair: true,
      multiplanarShowRender: 1,
      multiplanarPadPixels: 12,
      multiplanarLayout: canvas.clientWidth > canvas.clientHeight ? 2 : 0, // two by two, or what fits best
      tileMargin: 12,
      loadingText: "",
      dragAndDropEnabled: false,
      viewModeHotKey: "",
      clipPlaneHotKey: "",
      cycleClipPlaneHotKey: "",
      logLevel: "error",
    });
    nv.onLocationChange = place;
    await nv.attachToCanvas(canvas);
    state.nv = nv;
  }

  function place(found) {
    const mm = Array.from(found.mm).slice(0, 3).map((value) => Math.round(value) + 0);
    const label = found.values.length > 1 ? index.names[Math.round(found.values[1].value)] : "";
    byId("sv-place").textContent = "Cross at x " + mm[0] + ", y " + mm[1] + ", z " + mm[2] + " mm" + (label ? ": " + label : "");
  }

  async function volume(name, file, options) {
    return window.niivue.NVImage.loadFromBase64({ base64: byId(file).textContent, name: name + ".nii.gz", ...options });
  }

  function labelColours() {
    const rgb = [[0, 0, 0], ...index.colours];
    const column = (k) => rgb.map((colour) => colour[k]);
    return { R: column(0), G: column(1), B: column(2), A: rgb.map((_, k) => (k ? 255 : 0)), I: rgb.map((_, k) => k),
             labels: index.names };
  }

  // mm of a voxel in the middle of the axial slice that shows most of the tumour's core (of the oedema where there is
  // no core); null without a tumour
  function middle(labels) {
    const [nx, ny, nz] = labels.hdr.dims.slice(1, 4);
    const img = labels.img;
    const ed = index.names.indexOf("ED");
    const core = img.some((value) => value && value !== ed);
    const inside = (value) => value > 0 && !(core && value === ed);
    const area = (k) => img.subarray(k * nx * ny, (k + 1) * nx * ny).reduce((sum, value) => sum + inside(value), 0);
    const areas = Array.from({ length: nz }, (_, k) => area(k));
    const k = areas.indexOf(Math.max(...areas));
    if (!areas[k]) return null;
    const spots = [];
    for (let j = 0; j < ny; j++) for (let i = 0; i < nx; i++) if (inside(img[(k * ny + j) * nx + i])) spots.push([i, j]);
    const mean = [0, 1].map((axis) => spots.reduce((sum, spot) => sum + spot[axis], 0) / spots.length);
    const away = (spot) => (spot[0] - mean[0]) ** 2 + (spot[1] - mean[1]) ** 2;
    const [i, j] = spots.reduce((best, spot) => (away(spot) < away(best) ? spot : best));
    return labels.hdr.affine.slice(0, 3).map((row) => row[0] * i + row[1] * j + row[2] * k + row[3]);
  }

  async function show() {
    const nv = state.nv;
    const number = Number(byId("sv-case").value);
    const image = byId("sv-image").value;
    const one = index.cases[number];
    if (state.shown === number + "/" + image) return;
    say("Loading…");
    const stays = state.number === number;
    const cross = stays ? Array.from(nv.scene.crosshairPos) : null;
    const prefix = "synth-viewer-" + number + "-";
    const volumes = [await volume(image, prefix + image, { colormap: "gray", cal_min: 1, cal_max: 255 })];
    if (one.labels) {
      volumes.push(await volume("labels", prefix + "labels", { opacity: opacity() }));
      volumes[1].setColormapLabel(labelColours());
    }
    while (nv.volumes.length) nv.removeVolumeByIndex(0);
    for (const each of volumes) nv.addVolume(each);
    const start = !stays && one.labels ? middle(volumes[1]) : null;
    nv.scene.crosshairPos = start ? nv.mm2frac(start) : cross || [0.5, 0.5, 0.5];
    state.number = number;
    state.shown = number + "/" + image;
    overlay();
    layout();
    nv.updateGLVolume();
    nv.createOnLocationChange();
    say(one.title + ", " + image + (one.labels ? "" : " (no labels)"));
  }

  const opacity = () => (byId("sv-labels").checked ? Number(byId("sv-opacity").value) : 0);

  function overlay() {
    byId("sv-opacity").disabled = !byId("sv-labels").checked;
    if (state.nv && state.nv.volumes.length > 1) state.nv.setOpacity(1, opacity());
  }

  function layout() {
    const nv = state.nv;
    const types = { multi: nv.sliceTypeMultiplanar, axial: nv.sliceTypeAxial, coronal: nv.sliceTypeCoronal,
                    sagittal: nv.sliceTypeSagittal, render: nv.sliceTypeRender };
    nv.setSliceType(types[byId("sv-view").value]);
  }

  function images() {
    const before = byId("sv-image").value;
    const names = index.cases[Number(byId("sv-case").value)].images;
    byId("sv-image").replaceChildren(...names.map((name) => new Option(name, name)));
    if (names.includes(before)) byId("sv-image").value = before;
  }

  // one thing at a time, in the order asked for
  function queue(work) {
    state.busy = state.busy.then(work).catch((error) => {
      say(error instanceof Unable ? "The viewer cannot be shown: " + error.message + "."
        : "The viewer stopped: " + error.message + ".");
      box.dataset.state = "failed";
    });
  }

  function open() {
    if (!box.open || box.dataset.state) return;
    box.dataset.state = "loading";
    queue(async () => {
      await start();
      await show();
      box.dataset.state = "ready";
    });
  }

  const steps = { ArrowLeft: [-1, 0, 0], ArrowRight: [1, 0, 0], ArrowUp: [0, 1, 0], ArrowDown: [0, -1, 0],
                  PageUp: [0, 0, 1], PageDown: [0, 0, -1] };

  // pictures are turned so that the patient's right is on the left: the left arrow has to move that way on the screen
  function step(key) {
    const [x, y, z] = steps[key];
    const view = byId("sv-view").value;
    if (view === "sagittal") state.nv.moveCrosshairInVox(z, -x, y);
    else if (view === "coronal") state.nv.moveCrosshairInVox(-x, z, y);
    else state.nv.moveCrosshairInVox(-x, y, z);
  }

  function key(event) {
    if (!state.nv || event.ctrlKey || event.altKey || event.metaKey) return;
    const image = byId("sv-image").options[Number(event.key) - 1];
    if (event.key in steps) step(event.key);
    else if (event.key === "l" || event.key === "L") byId("sv-labels").click();
    else if (image) {
      byId("sv-image").value = image.value;
      queue(show);
    } else return;
    event.preventDefault();
    event.stopImmediatePropagation(); // NiiVue has keys of its own
  }

  byId("sv-case").replaceChildren(...index.cases.map((one, k) => new Option(one.title, k)));
  images();
  if ([...byId("sv-image").options].some((one) => one.value === index.first)) byId("sv-image").value = index.first;
  byId("sv-case").addEventListener("change", () => { images(); if (state.nv) queue(show); });
  byId("sv-image").addEventListener("change", () => { if (state.nv) queue(show); });
  byId("sv-view").addEventListener("change", () => { if (state.nv) layout(); });
  byId("sv-labels").addEventListener("change", overlay);
  byId("sv-opacity").addEventListener("input", overlay);
  canvas.addEventListener("keydown", key);
  box.addEventListener("toggle", open);
  open();
})();
