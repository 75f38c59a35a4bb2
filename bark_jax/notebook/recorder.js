// Record a voice: a press starts, the next one ends, and a WAV file goes as base64 to the text area that the kernel reads.
(root) => {
  const node = root.querySelector('[data-bark=recorder]'), button = node.querySelector('button');
  const words = node.querySelector('output'), rate = +node.dataset.rate;
  const wav = (samples) => {
    const view = new DataView(new ArrayBuffer(44 + 2 * samples.length));
    const put = (place, letters) => [...letters].forEach((letter, i) => view.setUint8(place + i, letter.charCodeAt(0)));
    put(0, 'RIFF'); view.setUint32(4, 36 + 2 * samples.length, true); put(8, 'WAVEfmt ');
    view.setUint32(16, 16, true); view.setUint16(20, 1, true); view.setUint16(22, 1, true);
    view.setUint32(24, rate, true); view.setUint32(28, 2 * rate, true);
    view.setUint16(32, 2, true); view.setUint16(34, 16, true);
    put(36, 'data'); view.setUint32(40, 2 * samples.length, true);
    samples.forEach((x, i) => view.setInt16(44 + 2 * i, Math.round(32767 * Math.max(-1, Math.min(1, x))), true));
    return view.buffer;
  };
  const send = async (blob) => {
    // A context of this rate resamples what it decodes; the first channel is enough for a voice.
    const sound = await new OfflineAudioContext(1, 1, rate).decodeAudioData(await blob.arrayBuffer());
    const reader = new FileReader();
    reader.onload = () => {
      const target = document.querySelector('.' + node.dataset.target + ' textarea');
      target.value = reader.result.split(',')[1];
      ['input', 'change'].forEach((name) => target.dispatchEvent(new Event(name, {bubbles: true})));
      words.textContent = sound.duration.toFixed(1) + ' s were recorded.';
    };
    reader.readAsDataURL(new Blob([wav(sound.getChannelData(0))]));
  };
  let recorder;
  button.addEventListener('click', async () => {
    if (recorder) { recorder.stop(); return; }
    try {
      const stream = await navigator.mediaDevices.getUserMedia({audio: true}), parts = [];
      recorder = new MediaRecorder(stream);
      recorder.ondataavailable = (event) => parts.push(event.data);
      recorder.onstop = () => {
        recorder = null;
        button.textContent = 'Record';
        stream.getTracks().forEach((track) => track.stop());
        send(new Blob(parts)).catch((error) => { words.textContent = 'It could not be read: ' + error.message; });
      };
      recorder.start();
      button.textContent = 'Stop';
      words.textContent = 'Recording: say a sentence of 2 to 10 seconds.';
    } catch (error) { words.textContent = 'No microphone: ' + error.message; }
  });
}
