/** Dark and light: follows the system until a person chooses, and remembers the choice. */
import { createTheme, ThemeContext } from '@grafana/data';
import { GlobalStyles, PortalContainer } from '@grafana/ui';
import { createContext, useContext, useEffect, useMemo, useState, type ReactNode } from 'react';

export type ThemeMode = 'dark' | 'light';

const STORAGE_KEY = 'mangru.theme';

interface Mode {
  mode: ThemeMode;
  toggle: () => void;
}

const ModeContext = createContext<Mode>({ mode: 'dark', toggle: () => undefined });

/** useThemeMode gives the present mode and a way to switch. */
export function useThemeMode(): Mode {
  return useContext(ModeContext);
}

function stored(): ThemeMode | null {
  const v = localStorage.getItem(STORAGE_KEY);
  return v === 'dark' || v === 'light' ? v : null;
}

export function ThemeProvider({ children }: { children: ReactNode }) {
  const [chosen, setChosen] = useState<ThemeMode | null>(stored);
  const system = useSystemMode();
  const mode = chosen ?? system;
  const theme = useMemo(() => createTheme({ colors: { mode } }), [mode]);
  const value = useMemo<Mode>(
    () => ({
      mode,
      toggle: () => {
        const next = mode === 'dark' ? 'light' : 'dark';
        localStorage.setItem(STORAGE_KEY, next);
        setChosen(next);
      },
    }),
    [mode]
  );
  useEffect(() => {
    document.documentElement.style.colorScheme = mode;
    document.body.classList.remove('theme-dark', 'theme-light');
    document.body.classList.add(`theme-${mode}`);
  }, [mode]);
  return (
    <ModeContext.Provider value={value}>
      <ThemeContext.Provider value={theme}>
        <GlobalStyles />
        {children}
        <PortalContainer />
      </ThemeContext.Provider>
    </ModeContext.Provider>
  );
}

function useSystemMode(): ThemeMode {
  const query = useMemo(() => window.matchMedia('(prefers-color-scheme: light)'), []);
  const [light, setLight] = useState(query.matches);
  useEffect(() => {
    const listen = (e: MediaQueryListEvent) => setLight(e.matches);
    query.addEventListener('change', listen);
    return () => query.removeEventListener('change', listen);
  }, [query]);
  return light ? 'light' : 'dark';
}
