import django.db.models.deletion
import rendio.common.ids
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):

    initial = True

    dependencies = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.CreateModel(
            name='HistoryWalk',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('due_at', models.DateTimeField(blank=True, null=True)),
                ('tries', models.PositiveIntegerField(default=0)),
                ('environment', models.CharField(choices=[('Production', 'Production'), ('Sandbox', 'Sandbox')], max_length=10)),
                ('scope', models.CharField(choices=[('recent', 'Recent'), ('failed', 'Failed')], max_length=6)),
                ('from_at', models.DateTimeField(blank=True, null=True)),
                ('until_at', models.DateTimeField(blank=True, null=True)),
                ('pagination_token', models.TextField(blank=True)),
                ('covered_until', models.DateTimeField(blank=True, null=True)),
                ('finished_at', models.DateTimeField(blank=True, null=True)),
                ('gaps_closed', models.PositiveIntegerField(default=0, help_text='Notifications found, ever.')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('environment', 'scope'), name='walk_one_per_environment_and_scope')],
            },
        ),
        migrations.CreateModel(
            name='Notification',
            fields=[
                ('due_at', models.DateTimeField(blank=True, null=True)),
                ('tries', models.PositiveIntegerField(default=0)),
                ('id', models.UUIDField(default=rendio.common.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('notification_uuid', models.UUIDField(unique=True)),
                ('environment', models.CharField(choices=[('Production', 'Production'), ('Sandbox', 'Sandbox')], max_length=10)),
                ('type', models.CharField(max_length=40)),
                ('subtype', models.CharField(blank=True, max_length=40)),
                ('transaction_id', models.CharField(blank=True, max_length=50)),
                ('signed_payload', models.TextField(blank=True)),
                ('from_history', models.BooleanField(default=False, help_text='Fetched from Apple, for want of its delivery.')),
                ('signed_at', models.DateTimeField()),
                ('received_at', models.DateTimeField()),
                ('processed_at', models.DateTimeField(blank=True, null=True)),
                ('outcome', models.CharField(blank=True, max_length=120)),
            ],
            options={
                'indexes': [models.Index(condition=models.Q(('due_at__isnull', False)), fields=['due_at'], name='notification_due'), models.Index(fields=['transaction_id'], name='notification_by_transaction'), models.Index(fields=['processed_at'], name='notification_processed')],
            },
        ),
        migrations.CreateModel(
            name='Product',
            fields=[
                ('id', models.UUIDField(default=rendio.common.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('product_id', models.CharField(help_text='As in App Store Connect.', max_length=100, unique=True)),
                ('kind', models.CharField(choices=[('consumable', 'Consumable'), ('subscription', 'Subscription')], max_length=12)),
                ('name', models.CharField(max_length=80)),
                ('credits', models.PositiveIntegerField(help_text='For each piece; of a subscription, for each period.')),
                ('rollover', models.CharField(choices=[('keep', 'Keep'), ('lapse', 'Lapse')], default='keep', help_text='Subscriptions: what becomes of unspent credits when the period ends.', max_length=5)),
                ('period', models.CharField(blank=True, help_text='Subscriptions: how long a period is, such as P1M.', max_length=10)),
                ('position', models.PositiveSmallIntegerField(default=0, help_text='Where it stands in lists.')),
                ('is_available', models.BooleanField(default=True, help_text='Shown in the app. What Apple sold is honoured all the same.')),
            ],
            options={
                'constraints': [models.CheckConstraint(condition=models.Q(('credits__gt', 0)), name='product_brings_credits'), models.CheckConstraint(condition=models.Q(models.Q(('kind', 'consumable'), ('period', '')), models.Q(('kind', 'subscription'), models.Q(('period', ''), _negated=True)), _connector='OR'), name='product_subscription_has_a_period')],
            },
        ),
        migrations.CreateModel(
            name='Purchase',
            fields=[
                ('due_at', models.DateTimeField(blank=True, null=True)),
                ('tries', models.PositiveIntegerField(default=0)),
                ('id', models.UUIDField(default=rendio.common.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('environment', models.CharField(choices=[('Production', 'Production'), ('Sandbox', 'Sandbox')], max_length=10)),
                ('transaction_id', models.CharField(max_length=50)),
                ('original_transaction_id', models.CharField(max_length=50)),
                ('product_id', models.CharField(help_text='As Apple names it.', max_length=100)),
                ('type', models.CharField(help_text='As Apple names it.', max_length=40)),
                ('quantity', models.PositiveIntegerField()),
                ('app_account_token', models.UUIDField(blank=True, null=True)),
                ('price_milliunits', models.BigIntegerField(blank=True, help_text="Thousandths of the currency's unit, as Apple reports it.", null=True)),
                ('currency', models.CharField(blank=True, max_length=3)),
                ('storefront', models.CharField(blank=True, max_length=3)),
                ('purchased_at', models.DateTimeField()),
                ('expires_at', models.DateTimeField(blank=True, help_text='Of a subscription.', null=True)),
                ('signed_at', models.DateTimeField(help_text='As of when Apple says what stands here.')),
                ('revoked_at', models.DateTimeField(blank=True, null=True)),
                ('revoked_share', models.PositiveIntegerField(default=0, help_text='Of the price, in thousandths of a percent.')),
                ('problem', models.CharField(blank=True, choices=[('nobody', 'Nobody'), ('closed', 'Closed'), ('product', 'Product')], max_length=10)),
                ('credits', models.PositiveIntegerField(blank=True, help_text='Granted, once.', null=True)),
                ('granted_at', models.DateTimeField(blank=True, null=True)),
                ('recorded_at', models.DateTimeField()),
                ('user', models.ForeignKey(blank=True, null=True, on_delete=django.db.models.deletion.PROTECT, related_name='purchases', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'indexes': [models.Index(condition=models.Q(('due_at__isnull', False)), fields=['due_at'], name='purchase_due'), models.Index(models.F('user'), models.OrderBy(models.F('id'), descending=True), name='purchase_by_user'), models.Index(fields=['transaction_id'], name='purchase_by_transaction'), models.Index(fields=['original_transaction_id'], name='purchase_by_original'), models.Index(condition=models.Q(('problem', ''), _negated=True), fields=['recorded_at'], name='purchase_waiting')],
                'constraints': [models.UniqueConstraint(fields=('environment', 'transaction_id'), name='purchase_once_per_transaction'), models.CheckConstraint(condition=models.Q(models.Q(('credits', None), ('granted_at', None)), models.Q(('credits__isnull', False), ('granted_at__isnull', False), ('user__isnull', False)), _connector='OR'), name='purchase_granted_to_somebody'), models.CheckConstraint(condition=models.Q(('revoked_share__lte', 100000)), name='purchase_share_of_a_whole')],
            },
        ),
        migrations.CreateModel(
            name='TokenChange',
            fields=[
                ('due_at', models.DateTimeField(blank=True, null=True)),
                ('tries', models.PositiveIntegerField(default=0)),
                ('id', models.UUIDField(default=rendio.common.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('environment', models.CharField(choices=[('Production', 'Production'), ('Sandbox', 'Sandbox')], max_length=10)),
                ('original_transaction_id', models.CharField(max_length=50)),
                ('created_at', models.DateTimeField()),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='+', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'indexes': [models.Index(fields=['due_at'], name='token_change_due')],
                'constraints': [models.UniqueConstraint(fields=('environment', 'original_transaction_id'), name='token_change_once_per_purchase')],
            },
        ),
        migrations.CreateModel(
            name='UnconfirmedPurchase',
            fields=[
                ('due_at', models.DateTimeField(blank=True, null=True)),
                ('tries', models.PositiveIntegerField(default=0)),
                ('id', models.UUIDField(default=rendio.common.ids.uuid7, editable=False, primary_key=True, serialize=False)),
                ('transaction_id', models.CharField(max_length=50)),
                ('created_at', models.DateTimeField()),
                ('user', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='unconfirmed_purchases', to=settings.AUTH_USER_MODEL)),
            ],
            options={
                'indexes': [models.Index(fields=['due_at'], name='unconfirmed_due')],
                'constraints': [models.UniqueConstraint(fields=('user', 'transaction_id'), name='unconfirmed_once_per_user')],
            },
        ),
    ]
