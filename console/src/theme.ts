import {
  ActionIcon,
  Button,
  createTheme,
  localStorageColorSchemeManager,
  type MantineColorsTuple,
  Menu,
  Modal,
  NativeSelect,
  PasswordInput,
  SegmentedControl,
  Textarea,
  TextInput,
  Tooltip,
} from "@mantine/core";

const petrol: MantineColorsTuple = [
  "#e6f5f5",
  "#cfe9e9",
  "#a3d5d6",
  "#74c0c2",
  "#4eadb0",
  "#359ea2",
  "#218f94",
  "#0c6b72",
  "#0a5d63",
  "#064d53",
];
const dark: MantineColorsTuple = [
  "#dfe6e6",
  "#a9b5b6",
  "#8a9799",
  "#566264",
  "#37423f",
  "#2a3436",
  "#1d2527",
  "#141a1c",
  "#0f1415",
  "#0a0e0f",
];
const gray: MantineColorsTuple = [
  "#f7f8f8",
  "#f0f2f2",
  "#e5e9e9",
  "#d8dedf",
  "#c3cbcc",
  "#a0abac",
  "#7a8688",
  "#5a6668",
  "#37424a",
  "#1b2426",
];

export const colorSchemeManager = localStorageColorSchemeManager({ key: "baas-color-scheme" });

export const theme = createTheme({
  colors: { petrol, dark, gray },
  primaryColor: "petrol",
  primaryShade: 7,
  fontFamily: '"Geist Variable", ui-sans-serif, system-ui, sans-serif',
  fontFamilyMonospace: '"Geist Mono Variable", ui-monospace, monospace',
  fontSizes: {
    xs: "0.8125rem",
    sm: "0.8125rem",
    md: "0.875rem",
    lg: "1rem",
    xl: "1.25rem",
  },
  headings: { fontWeight: "600", fontFamily: '"Geist Variable", ui-sans-serif, sans-serif' },
  defaultRadius: 6,
  focusRing: "auto",
  cursorType: "pointer",
  respectReducedMotion: true,
  components: {
    Button: Button.extend({ defaultProps: { size: "xs", fw: 500 } }),
    TextInput: TextInput.extend({ defaultProps: { size: "xs" } }),
    PasswordInput: PasswordInput.extend({ defaultProps: { size: "xs" } }),
    NativeSelect: NativeSelect.extend({ defaultProps: { size: "xs" } }),
    Textarea: Textarea.extend({ defaultProps: { size: "xs" } }),
    SegmentedControl: SegmentedControl.extend({ defaultProps: { size: "xs" } }),
    ActionIcon: ActionIcon.extend({
      defaultProps: { variant: "subtle", color: "gray", size: 28 },
    }),
    Tooltip: Tooltip.extend({
      defaultProps: {
        openDelay: 400,
        withArrow: false,
        fz: 12,
        events: { hover: true, focus: true, touch: false },
      },
    }),
    Menu: Menu.extend({ defaultProps: { shadow: "md", width: 210 } }),
    Modal: Modal.extend({
      defaultProps: {
        centered: true,
        transitionProps: { duration: 120 },
        overlayProps: { backgroundOpacity: 0.4 },
        closeButtonProps: { "aria-label": "Close" },
      },
    }),
  },
});
