/** Reads a television's QR code with this device's camera, where the browser can read codes at all. */
import { useEffect, useRef, useState } from 'preact/hooks';
import { tvMessages } from '../messages-tv';

interface Detector {
  detect(from: HTMLVideoElement): Promise<{ rawValue: string }[]>;
}

const Detectors = (window as { BarcodeDetector?: new (options: { formats: string[] }) => Detector }).BarcodeDetector;
const words = tvMessages.remote;
/** Often enough that nobody waits for it, milliseconds. */
const LOOK_MS = 250;

/** Cameras are for secure pages only. */
export const canScan = (): boolean => Detectors !== undefined && !!navigator.mediaDevices;

/** `found`: whether that was what is looked for. */
export function Scanner({ found }: { found: (text: string) => boolean }) {
  const [how, setHow] = useState<'off' | 'on' | 'refused'>('off');
  const view = useRef<HTMLVideoElement>(null);
  useEffect(() => {
    if (how !== 'on') return undefined;
    let over = false;
    let stream: MediaStream | null = null;
    const look = async (): Promise<void> => {
      stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: 'environment' } });
      if (over) return;
      const video = view.current!;
      video.srcObject = stream;
      await video.play();
      const detector = new Detectors!({ formats: ['qr_code'] });
      while (!over) {
        const seen = await detector.detect(video);
        if (seen.some((it) => found(it.rawValue))) return setHow('off');
        await new Promise((next) => setTimeout(next, LOOK_MS));
      }
    };
    look().catch(() => !over && setHow('refused'));
    return () => {
      over = true;
      stream?.getTracks().forEach((track) => track.stop());
    };
  }, [how]);
  if (how === 'refused') return <p class="hint">{words.noCamera}</p>;
  if (how === 'off') {
    return (
      <button class="button" data-testid="tv-scan" onClick={() => setHow('on')}>
        {words.scan}
      </button>
    );
  }
  return (
    <figure class="rc-scan">
      <video ref={view} muted playsInline />
      <figcaption>{words.scanning}</figcaption>
    </figure>
  );
}
