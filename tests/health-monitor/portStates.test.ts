import { describe, expect, it } from '@jest/globals';
import { createPortStates } from '../../backend/src/health-monitor/portStates.js';
import type { ProbeResult } from '../../backend/src/health-monitor/portProbe.js';

const good: ProbeResult = { isHealthy: true, responseTimeMs: 3, error: null, isSilent: false };
const bad: ProbeResult = {
  isHealthy: false,
  responseTimeMs: null,
  error: 'nothing listens on its port',
  isSilent: false,
};

function aPort(failAfter: number, okAfter: number) {
  const states = createPortStates();
  const port = { name: 'notes', program: 'mcp-notes', origin: '', timeoutMs: 1, failAfter, okAfter };
  return (probe: ProbeResult) => states.note(port, probe, new Date(0));
}

describe('the state of a port', () => {
  it('P05 becomes healthy with its first good probe, and unhealthy with the third lost one in a row', () => {
    const note = aPort(3, 1);
    expect(note(good)).toMatchObject({ isHealthy: true, state: 'RUNNING', failures: 0, error: null });
    expect(note(bad)).toMatchObject({ isHealthy: true, state: 'RUNNING', failures: 1, error: bad.error });
    expect(note(good)).toMatchObject({ isHealthy: true, failures: 0 });
    note(bad);
    note(bad);
    expect(note(bad)).toMatchObject({ isHealthy: false, state: 'FAILED', failures: 3 });
    expect(note(good)).toMatchObject({ isHealthy: true, state: 'RUNNING' });
  });

  it('P05 is unhealthy at once where it never was healthy, and recovers only after okAfter good probes', () => {
    const note = aPort(3, 2);
    expect(note(bad)).toMatchObject({ isHealthy: false, state: 'FAILED' });
    expect(note(good)).toMatchObject({ isHealthy: false, state: 'STARTING' });
    expect(note(good)).toMatchObject({ isHealthy: true, state: 'RUNNING' });
  });
});
