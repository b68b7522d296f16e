import { render } from 'preact';
import { useEffect } from 'preact/hooks';
import { Frame } from './frame';
import { start } from './live';
import { Nothing, Page, Wait } from './parts';
import { go, path } from './router';
import { enter, phase } from './store';
import { Audit } from './pages/audit';
import { Device } from './pages/device';
import { Fleet } from './pages/fleet';
import { Login } from './pages/login';
import { NewRollout } from './pages/plan';
import { Releases } from './pages/releases';
import { RolloutPage } from './pages/rollout';
import { Rollouts } from './pages/rollouts';
import { Settings } from './pages/settings';
import { Setup } from './pages/setup';
import { Versions } from './pages/versions';
import { Wall } from './pages/wall';

function page() {
  const parts = path.value.split('/').slice(1).map(decodeURIComponent);
  const id = parts[1];
  switch (parts[0]) {
    case '':
      return <Home />;
    case 'devices':
      return id ? <Device key={id} id={id} /> : <Fleet />;
    case 'rollouts':
      return id === 'new' ? <NewRollout /> : id ? <RolloutPage key={id} id={id} /> : <Rollouts />;
    case 'versions':
      return <Versions />;
    case 'releases':
      return <Releases />;
    case 'wall':
      return <Wall />;
    case 'audit':
      return <Audit />;
    case 'settings':
      return <Settings />;
    case 'setup':
      return <Setup />;
    default:
      return <Page title="No such page"><Nothing>There is nothing at this address. <a href="/devices">To the fleet</a></Nothing></Page>;
  }
}

function Home() {
  useEffect(() => go('/devices', true), []);
  return null;
}

function App() {
  useEffect(() => {
    if (phase.value === 'in') start();
  }, [phase.value]);
  switch (phase.value) {
    case 'loading':
      return <Wait />;
    case 'login':
      return <Login />;
    case 'setup':
      return <main id="main" class="alone"><Setup /></main>;
    case 'in':
      return <Frame>{page()}</Frame>;
  }
}

void enter();
render(<App />, document.getElementById('app')!);
