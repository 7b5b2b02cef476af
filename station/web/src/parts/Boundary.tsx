/** Keeps a panel that fails from taking the others with it. */

import { Component, type ComponentChildren } from "preact";
import { t } from "../state/i18n";

export class Boundary extends Component<{ children: ComponentChildren }, { failed: boolean }> {
  override state = { failed: false };

  static getDerivedStateFromError() {
    return { failed: true };
  }

  override componentDidCatch(error: unknown): void {
    console.error(error);
  }

  override render() {
    return this.state.failed ? <p class="panel band" role="alert">{t("panel.failed")}</p> : this.props.children;
  }
}
