-- What is told of a shared credential besides the secret itself, so that an admin sees whose it is and since when.

alter table service_settings
  add column shared_identity text check (char_length(shared_identity) <= 200),
  add column shared_checked_at timestamptz,
  add column shared_updated_at timestamptz;

comment on column service_settings.shared_revision is
  'The highest revision ever sealed for the row; it stays when the credential is deleted, so that none is used twice.';
comment on column service_settings.shared_checked_at is
  'When the service accepted it; null when there was nothing to check it against.';
comment on column service_settings.is_enabled is
  'For the control plane, which lets an admin switch a service off; until then the config file alone decides.';
comment on column service_settings.sealed_admin_config is
  'For the control plane, which lets an admin set values beyond the config file; until then nobody writes or reads it.';
