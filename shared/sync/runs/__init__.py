"""Long work in the app: a run reads whole tables of Dynamics and has their rows synced, beside the live changes."""
