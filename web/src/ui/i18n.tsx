/** English and Korean texts, typed: a key that is missing in one language does not compile. */
import { createContext, useContext, useEffect, useMemo, useState, type ReactNode } from 'react';
import { english } from './messages_en';
import { korean } from './messages_ko';

export type MessageKey = keyof typeof english;
export type Messages = Record<MessageKey, string>;
export type Language = 'en' | 'ko';

/** T gives a text; `{name}` in it is replaced by the value of that name. */
export type T = (key: MessageKey, values?: Record<string, string | number>) => string;

const STORAGE_KEY = 'mangru.language';
const dictionaries: Record<Language, Messages> = { en: english, ko: korean };

interface I18n {
  language: Language;
  setLanguage: (l: Language) => void;
  t: T;
}

/** translate fills a text of one language. */
export function translate(language: Language, key: MessageKey, values: Record<string, string | number> = {}): string {
  return dictionaries[language][key].replace(/\{(\w+)\}/g, (whole, name: string) => (name in values ? String(values[name]) : whole));
}

function initialLanguage(): Language {
  const stored = localStorage.getItem(STORAGE_KEY);
  if (stored === 'en' || stored === 'ko') {
    return stored;
  }
  return navigator.language.toLowerCase().startsWith('ko') ? 'ko' : 'en';
}

const I18nContext = createContext<I18n>({ language: 'en', setLanguage: () => undefined, t: (k, v) => translate('en', k, v) });

export function I18nProvider({ children }: { children: ReactNode }) {
  const [language, setLanguage] = useState<Language>(initialLanguage);
  useEffect(() => {
    document.documentElement.lang = language;
  }, [language]);
  const value = useMemo<I18n>(
    () => ({
      language,
      setLanguage: (l) => {
        localStorage.setItem(STORAGE_KEY, l);
        setLanguage(l);
      },
      t: (key, values) => translate(language, key, values),
    }),
    [language]
  );
  return <I18nContext.Provider value={value}>{children}</I18nContext.Provider>;
}

export function useT(): T {
  return useContext(I18nContext).t;
}

export function useLanguage(): Pick<I18n, 'language' | 'setLanguage'> {
  return useContext(I18nContext);
}
