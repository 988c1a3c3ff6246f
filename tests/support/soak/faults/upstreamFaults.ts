/** Upstreams that hang, break off, talk nonsense, never end, refuse the credential; children that eat their memory. */
import type { UpstreamMode } from '../recordingServices.js';
import { soakServices, type SoakService } from '../soakServices.js';
import type { Fault } from './fault.js';

const misbehaving = (
  id: string,
  mode: UpstreamMode,
  services: readonly SoakService[] = soakServices,
): Fault => ({
  id,
  lastsMs: [2_000, 7_000],
  // A circuit that opened waits up to a minute before it lets the next one try.
  recoveryMs: 65_000,
  plan(random) {
    const service = random.oneOf(services);
    const share = random.oneOf([0.2, 0.5, 1]);
    return {
      detail: `${service} ${share * 100} %`,
      hits: [service],
      async inject({ soak }) {
        soak.upstream.misbehave(service, mode, share);
        await Promise.resolve();
        return async () => {
          soak.upstream.behave(service);
          await Promise.resolve();
        };
      },
    };
  },
});

const remote = soakServices.filter((service) => service !== 'lines');

export const upstreamFaults: readonly Fault[] = [
  misbehaving('R05', 'hang'),
  misbehaving('R06', 'die'),
  misbehaving('R07', 'garbage'),
  misbehaving('R08', 'huge'),
  misbehaving('R09', 'drip'),
  misbehaving('R10', 'eat', ['lines']),
  misbehaving('R20', 'refuse', remote),
];
