-- The user and all others of the same person: users with the same Apple account, closed ones included.
CREATE OR REPLACE FUNCTION accounts_related_user_ids(user_id uuid) RETURNS uuid[]
LANGUAGE plpgsql STABLE AS $$
#variable_conflict use_variable
BEGIN
    RETURN ARRAY(
        SELECT user_id
        UNION
        SELECT other.user_id
        FROM accounts_personkey mine
        JOIN accounts_personkey other ON other.key = mine.key
        WHERE mine.user_id = user_id
    );
END $$;
