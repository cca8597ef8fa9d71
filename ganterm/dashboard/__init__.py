"""The screen: it reads snapshots and history at its own pace and knows no torch."""
