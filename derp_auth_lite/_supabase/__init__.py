"""What the Supabase client is made of: the wire, the mapping, and what is kept on this side."""
